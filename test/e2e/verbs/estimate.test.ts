/** What `keymend estimate` says, beside what Temporal has counted. */
import { afterEach, beforeEach, expect, it } from 'vitest';
import { TEMPORAL_COST } from '../../../src/cost-model.js';
import { BATCH_TYPE } from '../../../workflows/batch-messages.js';
import { WORKFLOW_TYPE } from '../../../workflows/messages.js';
import { compareRedis } from '../../support/compare.js';
import { eventually } from '../../support/eventually.js';
import { createSandbox, recordOf, type Sandbox } from '../../support/keymend.js';

let sandbox: Sandbox;
let link: string;
beforeEach(async () => {
  sandbox = await createSandbox();
  link = sandbox.prefix.slice(0, -1);
});
afterEach(() => sandbox?.close());

/**
 * Of each workflow, counted as docs/scale.md says, from the histories. Heartbeats are in none.
 * @param signalsByTime they say how far it is, and are left out
 */
async function actionsOf(type: string, { signalsByTime = false } = {}): Promise<number[]> {
  const { workflow } = sandbox.client;
  const actions: number[] = [];
  for await (const { workflowId } of workflow.list({ query: `WorkflowType = "${type}" AND KeymendLink = "${link}"` })) {
    const handle = workflow.getHandle(workflowId);
    await handle.result();
    const { events } = await handle.fetchHistory();
    const started = events!.filter((event) => event.workflowExecutionStartedEventAttributes);
    const timers = events!.filter((event) => event.timerStartedEventAttributes);
    const activities = events!.filter((event) => event.activityTaskScheduledEventAttributes);
    // All local activities of one workflow task are one.
    const tasks = new Set(
      events!.flatMap(({ markerRecordedEventAttributes: marker }) =>
        marker ? `${marker.workflowTaskCompletedEventId}` : [],
      ),
    );
    // The signal that came with the start is part of it.
    const signals = events!.filter((event) => event.workflowExecutionSignaledEventAttributes).length;
    const further = signalsByTime ? 0 : Math.max(0, signals - 1);
    actions.push(started.length + timers.length + activities.length + tasks.size + further);
  }
  return actions;
}

/** Fails so many keys, and waits until all are healed. */
async function heal(count: number, more: object): Promise<void> {
  const { source, target, producer, topic } = sandbox;
  const keys = Array.from({ length: count }, (_, index) => `key:${index}`);
  await source.client.mset(...keys.flatMap((key) => [key, 'new']));
  await producer.send({ topic, messages: keys.map((key) => recordOf(key, { link, ...more })) });
  await sandbox.start('start');
  await eventually(async () => expect(await compareRedis(source.client, target.client)).toEqual([]));
}

async function estimated(lane: string, ...args: string[]): Promise<number> {
  const { stdout } = await sandbox.keymend('estimate', ...args, '--output', 'json');
  return JSON.parse(stdout).lanes.find((each: { lane: string }) => each.lane === lane).actions;
}

it.each([
  ['refused', ['--outcome', 'refused']],
  ['unknown', []],
])(
  'the actions of keys by themselves are as many as estimated, within a fifth, where the outcome was %s',
  async (outcome, asked) => {
    sandbox.configure({ link: { name: link } });
    await heal(60, { outcome });
    const actions = await actionsOf(WORKFLOW_TYPE);
    // Of a usual one: on a busy machine some first attempts may be late, which costs another one.
    const measured = actions.length * actions.sort((one, other) => one - other)[Math.floor(actions.length / 2)]!;
    const said = await estimated('key', '60', ...asked);
    expect(measured / said).toBeGreaterThanOrEqual(0.8);
    expect(measured / said).toBeLessThanOrEqual(1.2);
  },
);

it.each(['refused', 'unknown'])(
  'the actions of batches are as many as estimated, within a fifth, where the outcome was %s',
  async (outcome) => {
    const surge = { surge: { enter: 100, leave: 1 } };
    sandbox.configure({ link: { name: link, budget: { opsPerSecond: 1_000_000 } }, config: surge });
    await heal(10_000, { outcome });
    const actions = await actionsOf(BATCH_TYPE);
    // On a busy machine an attempt ends before it is through its keys, and another one follows.
    const measured = actions.length * Math.min(...actions);
    const said = await estimated('batch', '10k', '--outcome', outcome);
    expect(measured / said).toBeGreaterThanOrEqual(0.8);
    expect(measured / said).toBeLessThanOrEqual(1.2);
  },
);

it('the actions of a sweep that repairs are as many as estimated, within a fifth', async () => {
  const count = 10_000;
  sandbox.configure({ link: { name: link, settle: '50ms', budget: { opsPerSecond: 1_000_000 } } });
  await sandbox.source.client.mset(Array.from({ length: count }, (_, index) => [`key:${index}`, 'v']).flat());
  await sandbox.start('worker');
  const { code, stderr } = await sandbox.keymend('sweep', '--repair', '--rate', '1000000');
  expect(code, stderr).toBe(0);
  const ofBatches = await actionsOf(BATCH_TYPE);
  // How many words and heartbeats it sends is a matter of time, which a busy machine takes more of.
  const ofSweep = await actionsOf('sweep', { signalsByTime: true });
  // Next to those of its batches they would be within the fifth whatever they are.
  expect(ofSweep).toEqual([TEMPORAL_COST.sweep.actions]);
  const measured = ofBatches.length * Math.min(...ofBatches) + ofSweep[0]!;
  const said = await estimated('sweep', `${count}`, '--target', 'missing');
  expect(measured / said).toBeGreaterThanOrEqual(0.8);
  expect(measured / said).toBeLessThanOrEqual(1.2);
});
