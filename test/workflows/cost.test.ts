import { describe, expect, it } from 'vitest';
import { failedWrite, type Handle, onStack, Script, withScript } from '../support/workflow-bed.js';

const server = onStack();

async function cost(handle: Handle): Promise<{ transitions: number; events: number }> {
  await handle.result();
  const { raw } = await handle.describe();
  const info = raw.workflowExecutionInfo!;
  return { transitions: Number(info.stateTransitionCount), events: Number(info.historyLength) };
}

describe('the cost of one key', () => {
  it('that heals at once is at most 3 state transitions and 8 events, that of a workflow which does nothing', async () => {
    const script = new Script(server.env, 'repaired');
    await withScript(script, async (start) => {
      const { transitions, events } = await cost(await start());
      expect(transitions).toBeLessThanOrEqual(3);
      expect(events).toBeLessThanOrEqual(8);
    });
  });

  it('that was delayed by settle and is verified by its attempt is at most 4 state transitions and 9 events', async () => {
    const script = new Script(server.env, { reply: 'repaired', verified: true });
    await withScript(script, async (start) => {
      const { transitions, events } = await cost(
        await start({ events: [failedWrite({ outcome: 'unknown' })], startDelayMs: 100 }),
      );
      expect(transitions).toBeLessThanOrEqual(4);
      expect(events).toBeLessThanOrEqual(9);
      expect(script.requests).toHaveLength(1);
    });
  });

  it('stays the same for a hundred failed writes that came together', async () => {
    const script = new Script(server.env, 'repaired');
    await withScript(script, async (start) => {
      const one = await cost(await start());
      const hundred = await cost(await start({ events: Array.from({ length: 100 }, () => failedWrite()) }));
      expect(hundred).toEqual(one);
    });
  });
});
