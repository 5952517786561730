/** A signal that somebody else's workflow takes repairs nothing. */
import { expect, onTestFinished, test, vi } from 'vitest';
import { workflowIdFor } from '../../src/bridge/workflow-id.js';
import { WORKFLOW_TYPE } from '../../workflows/messages.js';
import { bridgeBed } from './bridge-bed.js';

type Bed = Awaited<ReturnType<typeof bridgeBed>>;

function idOf(bed: Bed, key: string): string {
  return workflowIdFor(bed.config.links[0]!.workflowIdPrefix, Buffer.from(key));
}

/** No worker reads it. */
async function startForeign(bed: Bed, key: string, type: string, taskQueue: string): Promise<void> {
  const handle = await bed.client.workflow.start(type, { workflowId: idOf(bed, key), taskQueue });
  onTestFinished(() => handle.terminate().then(() => {}));
}

test.each([
  ['a workflow of somebody else', 'OrderWorkflow', 'orders'],
  ['a run of ours on a task queue that nobody serves any more', WORKFLOW_TYPE, 'renamed'],
])('%s under the ID of a key: a dead letter says so, and other keys go on', async (_what, type, taskQueue) => {
  const bed = await bridgeBed();
  await startForeign(bed, 'order:42', type, taskQueue);
  await bed.produce({ id: 'a', key: 'order:42' }, { id: 'b', key: 'other' }, { id: 'c', key: 'order:42' });
  const bridge = await bed.start();
  await bed.untilCommitted(3);
  expect(await bed.signalledIds('other')).toEqual([['b']]);
  expect(bridge.counters).toEqual({ received: 3, signalled: 1, deadLettered: 2 });
  const [letter] = await bed.deadLetters(2);
  const headers = Object.fromEntries(Object.entries(letter!.headers!).map(([name, value]) => [name, String(value)]));
  expect(headers).toMatchObject({
    'dlq.reason': 'workflow-id-taken',
    'dlq.stage': 'signal',
    'dlq.error.type': 'WorkflowIdTaken',
    'dlq.workflow.id': idOf(bed, 'order:42'),
  });
  for (const word of [type, taskQueue, 'namespace', 'workflowIdPrefix']) {
    expect(headers['dlq.error.message']).toContain(word);
  }
  expect(bed.warnings().join()).toContain('workflow-id-taken');
});

test('whose a run is costs no call for one that the bridge has started, and one call for any other', async () => {
  const bed = await bridgeBed();
  const asked = vi.spyOn(bed.client.workflow, 'getHandle');
  const first = await bed.start();
  await bed.produce({ key: 'k' });
  await bed.untilCommitted(1);
  await bed.produce({ key: 'k' });
  await bed.untilCommitted(2);
  expect(asked).not.toHaveBeenCalled();
  await first.stop();
  await bed.start();
  for (const offset of [3, 4, 5]) {
    await bed.produce({ key: 'k' });
    await bed.untilCommitted(offset);
  }
  expect(asked).toHaveBeenCalledTimes(1);
  expect((await bed.workflow('k')).signals).toHaveLength(5);
});
