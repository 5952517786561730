/** The timeline of the Web UI: events have summaries that read as sentences. */

import { defaultPayloadConverter } from '@temporalio/common';
import type { temporal } from '@temporalio/proto';
import { expect, it } from 'vitest';
import * as messages from '../../workflows/messages.js';
import { until } from '../support/eventually.js';
import { failedWrite, giveUp, type Handle, onStack, POLICY, Script, withScript } from '../support/workflow-bed.js';

const server = onStack();
const HOUR_MS = 3_600_000;

/** Of the timers and activities, in order. */
async function summaries(handle: Handle): Promise<string[]> {
  const { events } = await handle.fetchHistory();
  return events!.flatMap(({ userMetadata }: temporal.api.history.v1.IHistoryEvent) =>
    userMetadata?.summary ? [defaultPayloadConverter.fromPayload<string>(userMetadata.summary)] : [],
  );
}

it('of a key that is retried and escalated', async () => {
  const script = new Script(server.env, { fail: 'TargetReadOnly' }, { fail: 'TargetReadOnly' });
  const policy = { ...POLICY, retry: { ...POLICY.retry, maximumAttempts: 3, initialIntervalMs: 20 } };
  await withScript(script, async (start) => {
    const handle = await start({ policy: { ...policy, escalation: { retryEveryMs: HOUR_MS } } });
    await until(() => script.escalations.length === 1);
    await giveUp(handle);
    const told = await summaries(handle);
    expect(told).toContain('attempt 2 of 3 and on: the target is read-only');
    expect(told).toContain('escalated (the target is read-only): next try by itself');
    expect(told).toContain('dead letter: the target is read-only');
  });
});

it('of a key that settles, waits and is verified', async () => {
  const outage = { shard: '10.0.0.1:6379', since: '2026-11-20T23:00:00.000Z' };
  const script = new Script(server.env, { defer: 10 }, { defer: 10, outage }, 'repaired', 'equal');
  // By a clock ahead: it counts from when the workflow begins, however late that is.
  const failedAt = new Date(Date.now() + HOUR_MS).toISOString();
  await withScript(script, async (start) => {
    const handle = await start({
      policy: { ...POLICY, settleMs: 2_500 },
      events: [failedWrite({ outcome: 'unknown', failedAt })],
    });
    await handle.result();
    const told = await summaries(handle);
    const timers = told.filter((summary) => !summary.startsWith('compare'));
    expect(timers).toEqual([
      'writes in flight land before it is compared',
      'waits for room in the budget',
      'waits for 10.0.0.1:6379 (no answer since 2026-11-20T23:00:00.000Z)',
      'written; compared once more when writes in flight have landed',
    ]);
  });
});

it('never has more than Temporal takes, whatever the error and the server are called', async () => {
  const outage = { shard: 'x'.repeat(5_000), since: '2026-11-20T23:00:00.000Z' };
  const script = new Script(server.env, { defer: 10, outage }, { fail: 'y'.repeat(5_000), permanent: true });
  await withScript(script, async (start) => {
    const handle = await start();
    await until(async () => (await handle.query(messages.status)).state === 'escalated');
    await until(() => script.escalations.length === 1);
    await giveUp(handle);
    for (const summary of await summaries(handle)) expect(Buffer.byteLength(summary)).toBeLessThanOrEqual(200);
  });
});
