import { describe, expect, it } from 'vitest';
import { failedWrite, type Handle, onStack, POLICY, Script, withScript } from '../support/workflow-bed.js';

const server = onStack();

/** Of the cheapest of some keys: a task that a busy machine leaves waiting costs another one. */
async function least(begin: () => Promise<Handle>): Promise<{ transitions: number; events: number }> {
  const costs = [];
  for (let key = 0; key < 5; key++) costs.push(await cost(await begin()));
  return costs.sort((one, other) => one.transitions - other.transitions)[0]!;
}

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
      const { transitions, events } = await least(start);
      expect(transitions).toBeLessThanOrEqual(3);
      expect(events).toBeLessThanOrEqual(8);
    });
  });

  it('that was delayed by settle and is verified by its attempt is at most 4 state transitions and 9 events', async () => {
    const script = new Script(server.env, { reply: 'repaired', verified: true });
    await withScript(script, async (start) => {
      const receivedAgoMs = POLICY.settleMs - 100;
      const { transitions, events } = await least(() => {
        const receivedAt = new Date(Date.now() - receivedAgoMs).toISOString();
        return start({ events: [failedWrite({ outcome: 'unknown', receivedAt, receivedAgoMs })], startDelayMs: 100 });
      });
      expect(transitions).toBeLessThanOrEqual(4);
      expect(events).toBeLessThanOrEqual(9);
      expect(script.requests).toHaveLength(5);
    });
  });

  it('stays the same for a hundred failed writes that came together', async () => {
    const script = new Script(server.env, 'repaired');
    await withScript(script, async (start) => {
      const one = await least(start);
      const hundred = await least(() => start({ events: Array.from({ length: 100 }, () => failedWrite()) }));
      expect(hundred).toEqual(one);
    });
  });
});
