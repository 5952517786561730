/** A workflow of somebody else under the ID of a key is told nothing by any verb. */
import { afterAll, beforeAll, describe, expect, it, onTestFinished } from 'vitest';
import { createSandbox, type Sandbox } from '../../support/keymend.js';

const VERBS = [
  ['retry', 'order:42'],
  ['skip', 'order:42', '--reason', 'a test'],
  ['reconcile', 'order:42'],
  ['status', 'order:42'],
];

let sandbox: Sandbox;
beforeAll(async () => {
  sandbox = await createSandbox();
});
afterAll(() => sandbox?.close());

/** What it prints of a key that it is told nothing of: `status` how the two sides differ now. */
const PRINTED = (verb: string) => (verb === 'status' ? expect.stringMatching(/^now +both sides are equal$/m) : '');

/** No worker reads it, so its history has what it was told and nothing else. */
async function startForeign(type: string, taskQueue: string) {
  const handle = await sandbox.client.workflow.start(type, { workflowId: `${sandbox.prefix}order:42`, taskQueue });
  onTestFinished(() =>
    handle.terminate().then(
      () => {},
      () => {},
    ),
  );
  const events = async () => (await handle.fetchHistory()).events!.length;
  return { handle, events, before: await events() };
}

describe('a workflow under the ID of a key', () => {
  it('that is of another type is told nothing, and the line says of what type it is', async () => {
    const { events, before } = await startForeign('OrderWorkflow', 'orders');
    for (const verb of VERBS) {
      const { code, stdout, stderr } = await sandbox.keymend(...verb);
      expect([code, stdout], verb.join(' ')).toEqual([1, PRINTED(verb[0]!)]);
      expect(stderr).toMatch(/^keymend: \S+order:42 is a workflow of type OrderWorkflow on task queue orders, .*\n$/);
      expect(stderr).toContain('link east-to-west a workflowIdPrefix');
    }
    expect(await events()).toBe(before);
  });

  it('that is of another keymend is told nothing', async () => {
    const { events, before } = await startForeign('reconcileKey', 'elsewhere');
    // Side by side: each waits for an answer that does not come.
    const ended = await Promise.all(VERBS.map((verb) => sandbox.keymend(...verb)));
    for (const [index, { code, stdout, stderr }] of ended.entries()) {
      expect([code, stdout]).toEqual([1, PRINTED(VERBS[index]![0]!)]);
      expect(stderr).toMatch(/was told nothing: no worker answers on its task queue elsewhere, .*\n$/);
    }
    expect(await events()).toBe(before);
  });

  it('that has ended is in nobody’s way', async () => {
    const { handle } = await startForeign('OrderWorkflow', 'orders');
    await handle.terminate();
    for (const verb of ['retry', 'status']) {
      const { code, stderr } = await sandbox.keymend(verb, 'order:42');
      expect([code, stderr]).toEqual([1, expect.stringContaining('nothing is under way for key order:42')]);
    }
    const worker = await sandbox.start('worker');
    expect(await sandbox.keymend('reconcile', 'order:42')).toMatchObject({ code: 0 });
    expect(await worker.stop()).toBe(0);
  });
});
