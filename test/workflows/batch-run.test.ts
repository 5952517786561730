/** What a batch makes of the end of an attempt, without Temporal. */
import { describe, expect, it } from 'vitest';
import { ALL_EQUAL, type BatchReply, packed } from '../../workflows/batch-messages.js';
import { dueKeys, giveUpAll, keyIn, newRun, nextDue, takeReply } from '../../workflows/batch-run.js';
import { failedWrite, POLICY } from '../support/workflow-bed.js';

const ERROR = { type: 'TargetReadOnly', message: 'no', stage: 'write' } as const;
const policy = { ...POLICY, settleMs: 1_000, retry: { ...POLICY.retry, maximumAttempts: 3, initialIntervalMs: 500 } };

function runOf(keys: number) {
  const writes = Array.from({ length: keys }, (_, index) => packed(failedWrite({ key: `k${index}` })));
  const part = { topic: 't', partition: 0, first: '0', last: '9', firstId: 'i' };
  const run = newRun({ link: 'l', policy, part, writes });
  const take = (reply: Partial<BatchReply>, now: number) =>
    takeReply(run, dueKeys(run, now), { ...ALL_EQUAL, ...reply }, now);
  const keysOpen = () => [...run.open].map(({ write }) => write.key);
  return { run, take, keysOpen };
}

describe('a key of a batch', () => {
  it('that is in no list of the reply was equal, and is healed', () => {
    const { run, take } = runOf(3);
    take({ repaired: [1] }, 0);
    expect(run).toMatchObject({ equal: 2, repaired: 1, handOver: [] });
    expect(run.open.size).toBe(0);
  });

  it('that was repaired and is to be looked at again counts as repaired once it is found equal', () => {
    const { run, take } = runOf(2);
    take({ lookAgain: [0] }, 0);
    expect([run.equal, run.repaired, nextDue(run)]).toEqual([1, 0, 1_000]);
    take({}, 1_000);
    expect([run.equal, run.repaired, run.open.size]).toEqual([1, 1, 0]);
  });

  it('that differs again after each of five repairs goes on by itself', () => {
    const { run, take } = runOf(1);
    for (let look = 0; look < 6; look++) {
      expect(run.handOver).toEqual([]);
      take({ lookAgain: [0] }, look * 1_000);
    }
    expect(run.handOver.map(({ key }) => key)).toEqual(['k0']);
  });

  it('that is deferred uses no attempt, however often', () => {
    const { run, take, keysOpen } = runOf(2);
    const outage = { shard: 's', since: '2026-11-20T23:00:00.000Z' };
    for (let turn = 0; turn < 100; turn++) {
      take({ deferred: [{ indices: turn === 0 ? [1] : [0], retryAfterMs: 60_000, outage }] }, turn * 60_000);
      expect(run.outage).toEqual(outage);
    }
    expect([keysOpen(), run.handOver]).toEqual([['k1'], []]);
    take({}, 100 * 60_000);
    expect([run.outage, run.equal]).toEqual([null, 2]);
  });

  it('that fails is tried as often as the policy says, further and further apart, and then goes on by itself', () => {
    const { run, take } = runOf(1);
    const failed = [{ indices: [0], error: ERROR, permanent: false, effect: 'nothing' as const }];
    take({ failed }, 0);
    expect(nextDue(run)).toBe(500);
    take({ failed }, 500);
    expect(nextDue(run)).toBe(1_500);
    take({ failed }, 1_500);
    expect(run.handOver).toHaveLength(1);
    expect(run.lastError).toEqual(ERROR);
  });

  it('that fails for good, or is large, goes on by itself at once', () => {
    const { run, take, keysOpen } = runOf(3);
    take({ large: [0], failed: [{ indices: [2], error: ERROR, permanent: true, effect: 'nothing' }] }, 0);
    expect([run.handOver.map(({ key }) => key), keysOpen(), run.equal]).toEqual([['k0', 'k2'], [], 1]);
  });

  it('that was written, and goes on elsewhere before that was found to hold, is told of as of unknown outcome', () => {
    const { run, take } = runOf(3);
    take({ lookAgain: [0], deferred: [{ indices: [1, 2], retryAfterMs: 60_000 }] }, 1_000);
    const [, second] = [...run.open];
    giveUpAll(run, [second!], 2_000);
    const at = new Date(2_000).toISOString();
    expect(run.handOver.map(({ key, outcome, failedAt }) => [key, outcome, failedAt])).toEqual([
      ['k0', 'unknown', at],
      // It was being tried.
      ['k1', 'unknown', at],
      ['k2', 'refused', '2026-11-20T23:00:00.000Z'],
    ]);
    expect(run.handOver[0]!.merged).toMatchObject({ count: 1, firstFailedAt: '2026-11-20T23:00:00.000Z' });
    expect(run.open.size).toBe(0);
  });

  it('that waits to be verified is not looked at with others that are due a little earlier', () => {
    const { run, take } = runOf(2);
    take({ lookAgain: [0], deferred: [{ indices: [1], retryAfterMs: 850 }] }, 0);
    expect(dueKeys(run, 850).map(({ write }) => write.key)).toEqual(['k1']);
  });

  it('that waits to be verified is not compared earlier because somebody asks', () => {
    const { run, take } = runOf(2);
    const failed = [{ indices: [1], error: ERROR, permanent: false, effect: 'nothing' as const }];
    take({ lookAgain: [0], failed }, 0);
    expect(dueKeys(run, 1, true).map(({ write }) => write.key)).toEqual(['k1']);
    expect(dueKeys(run, 1_000, true)).toHaveLength(2);
  });

  it.each([
    ['wrote', 1_000],
    ['unknown', 6_000],
  ] as const)(
    'whose failed attempt may have written (%s) is not compared before that proves something',
    (effect, ms) => {
      const { run, take } = runOf(1);
      take({ failed: [{ indices: [0], error: ERROR, permanent: false, effect }] }, 0);
      expect(nextDue(run)).toBe(ms);
      take({}, ms);
      expect(run.repaired).toBe(1);
    },
  );
});

describe('what a batch says of one key', () => {
  const named = (key: string) => ({ key, encoding: 'utf8' as const });

  it('is when it is tried again and how often it was, until it is healed', () => {
    const { run, take } = runOf(3);
    expect(keyIn(run, named('k1'))).toMatchObject({ attempts: 0, pending: 1, nextRetry: null });
    take({ failed: [{ indices: [1], error: ERROR, permanent: false, effect: 'nothing' }] }, 1_000);
    expect(keyIn(run, named('k1'))).toMatchObject({ attempts: 1, nextRetry: new Date(1_500).toISOString() });
    expect(keyIn(run, named('k0'))).toBeNull();
  });

  it('that it gives away is that it is there still, until it is taken', () => {
    const { run, take } = runOf(1);
    take({ large: [0] }, 0);
    expect(keyIn(run, named('k0'))).toMatchObject({ pending: 1, nextRetry: null });
    run.handOver = [];
    expect(keyIn(run, named('k0'))).toBeNull();
  });

  it('is nothing of a key whose bytes are others', () => {
    const { run } = runOf(1);
    expect(keyIn(run, { key: 'k0', encoding: 'base64' })).toBeNull();
    expect(keyIn(run, named('k9'))).toBeNull();
  });
});
