/** What `keymend status` says of dead letters. */
import { expect, it } from 'vitest';
import type { LinkReport } from '../../src/cli/status/link-status.js';
import { describeWaiting, type WaitingReport, waitingReport } from '../../src/cli/status/waiting.js';
import { parseConfig } from '../../src/config.js';

const source = { url: 'redis://a' };
const links = [
  { name: 'a', source, target: { url: 'redis://b' }, workflowIdPrefix: 'a/' },
  { name: 'b', source, target: { url: 'redis://c' }, workflowIdPrefix: 'b/' },
];
const config = parseConfig(JSON.stringify({ intake: 'redis-stream', links }), 'a test', {});

/** Of links whose source has so many. */
async function reportOf(names: readonly string[], deadLetters: number): Promise<WaitingReport> {
  const outbox = { entries: 0, deadLetters, problem: null };
  const reports = names.map((link) => ({ link, outbox }) as LinkReport);
  return waitingReport(new Error('away'), config, Promise.resolve(reports));
}

it.each([
  ['one link', ['a']],
  ['the other link', ['b']],
  ['both', ['a', 'b']],
])('letters in a stream that two links share are counted once where %s is reported', async (_which, names) => {
  const report = await reportOf(names, 3);
  expect(report.deadLetters).toEqual({ in: 'stream keymend:outbox:dlq', count: 3, problem: null });
  expect(describeWaiting(report)).toEqual(['3 dead letters in stream keymend:outbox:dlq']);
});

it('records in a topic are not all open letters', async () => {
  const report = await reportOf([], 0);
  const lag = { group: 'keymend', records: 0, problem: null };
  const deadLetters = { in: 'topic keymend.dlq', count: 4, problem: null };
  expect(describeWaiting({ ...report, lag, deadLetters })).toEqual([
    '4 records of dead letters in topic keymend.dlq, open and resolved; `keymend dlq group` counts the open ones',
  ]);
});
