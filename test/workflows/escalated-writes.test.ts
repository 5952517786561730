/** What was written before a key was given up on is no reason to try it again. */
import { expect, it } from 'vitest';
import * as messages from '../../workflows/messages.js';
import { until } from '../support/eventually.js';
import { failedWrite, type Handle, onStack, POLICY, Script, withScript } from '../support/workflow-bed.js';

const server = onStack();

it('a write that came while the last attempt failed is taken along, a later one is tried soon', async () => {
  const script = new Script(server.env, { fail: 'NoPermission', permanent: true });
  const sadd = (member: string) => failedWrite({ command: 'SADD', members: [member] });
  const policy = {
    ...POLICY,
    retry: { ...POLICY.retry, maximumIntervalMs: 500 },
    escalation: { retryEveryMs: 3_600_000 },
  };
  await withScript(script, async (start) => {
    let handle: Handle | undefined;
    script.during = async (attempt) => {
      if (attempt !== 1) return;
      await until(() => handle !== undefined);
      await handle!.signal(messages.failedWrites, [sadd('b')]);
    };
    handle = await start({ events: [sadd('a')], policy });
    await until(() => script.escalations.length === 1);
    const { nextRetry, pending } = await handle.query(messages.status);
    expect(pending).toBe(2);
    expect(Date.parse(nextRetry!) - Date.now()).toBeGreaterThan(1_800_000);
    script.attempts = ['repaired'];
    await handle.signal(messages.failedWrites, [{ ...sadd('c'), failedAt: new Date(Date.now() + 1).toISOString() }]);
    await handle.result();
    const last = script.requests.at(-1)!.request;
    expect(last.hint.members.utf8).toEqual(['a', 'b', 'c']);
    const done = await handle.query(messages.status);
    expect(done).toMatchObject({ state: 'done', pending: 0, firstFailedAt: expect.any(String) });
  });
});
