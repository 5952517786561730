/** What a batch makes of the end of an attempt, without Temporal. */
import { describe, expect, it } from 'vitest';
import { ALL_EQUAL, type BatchReply, packed, unpacked } from '../../workflows/batch-messages.js';
import {
  dueKeys,
  giveUpAll,
  keyIn,
  latestProof,
  leaving,
  newRun,
  nextDue,
  rangesOf,
  takeReply,
} from '../../workflows/batch-run.js';
import { addFailedWrites, NOTHING_PENDING, takeRound } from '../../workflows/pending.js';
import { settledAt } from '../../workflows/settle.js';
import { failedWrite, POLICY } from '../support/workflow-bed.js';

const ERROR = { type: 'TargetReadOnly', message: 'no', stage: 'write' } as const;
const policy = { ...POLICY, settleMs: 1_000, retry: { ...POLICY.retry, maximumAttempts: 3, initialIntervalMs: 500 } };

const POSITION = { topic: 't', partition: 0, offset: '7', timestamp: '1' };
/** Its records were read long ago. */
const receivedAt = new Date(0).toISOString();
const PART = { topic: 't', partition: 0, first: '0', last: '9', firstId: 'i', receivedAt };

function runOf(keys: number) {
  const writes = Array.from({ length: keys }, (_, index) => packed(failedWrite({ key: `k${index}` })));
  const input = { link: 'l', policy, part: PART, writes };
  const run = newRun(input);
  const take = (reply: Partial<BatchReply>, now: number) =>
    takeReply(run, dueKeys(run, now), { ...ALL_EQUAL, ...reply }, now);
  const keysOpen = () => [...run.open].map(({ write }) => write.key);
  const told = () => run.handOver.map((write) => unpacked(input, write));
  return { run, take, keysOpen, told };
}

describe('a key of a batch', () => {
  it('that is in no list of the reply was equal, and is healed', () => {
    const { run, take } = runOf(3);
    take({ repaired: [1] }, 0);
    expect(run).toMatchObject({ equal: 2, repaired: 1, handOver: [] });
    expect(run.open.size).toBe(0);
  });

  it.each([[[0]], [[0, 1]], [[0, 3, 4]], [[1, 2, 4]]])(
    'is told of by the keys that the attempt was asked for (%j), whichever are due in a replay',
    (asked) => {
      const { run, keysOpen } = runOf(5);
      const all = [...run.open];
      const ranges = rangesOf(
        run,
        asked.map((index) => all[index]!),
      );
      takeReply(run, all, { ...ALL_EQUAL, repaired: [0], asked: ranges }, 0);
      expect([run.repaired, run.equal]).toEqual([1, asked.length - 1]);
      expect(keysOpen()).toEqual(all.filter((_, index) => !asked.includes(index)).map(({ write }) => write.key));
    },
  );

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

  it('that was written, and goes on elsewhere before that was found to hold, is compared there after `settle`', () => {
    const { run, take, told } = runOf(3);
    take({ lookAgain: [0], deferred: [{ indices: [1, 2], retryAfterMs: 60_000 }] }, 100_000);
    const [, second] = [...run.open];
    giveUpAll(run, [second!], 102_000);
    expect(told().map((write) => [write.key, write.outcome, settledAt(write, 1_000, 102_000)])).toEqual([
      ['k0', 'unknown', 103_000],
      // It was being tried.
      ['k1', 'unknown', 103_000],
      ['k2', 'refused', 0],
    ]);
    expect(told().map(({ failedAt }) => failedAt)).toEqual(Array(3).fill('2026-11-20T23:00:00.000Z'));
    expect(run.open.size).toBe(0);
  });

  it.each([
    ['nothing', 0],
    ['wrote', 0],
    ['unknown', 106_000],
  ] as const)('whose last attempt did %s to it goes on elsewhere once that can be compared', (effect, at) => {
    const { run, take } = runOf(1);
    take({ failed: [{ indices: [0], error: ERROR, permanent: true, effect }] }, 100_000);
    expect([run.handOver.length, run.handOverAt]).toEqual([1, at]);
  });

  it('that was being tried when its batch was cancelled goes on elsewhere once that can be compared', () => {
    const { run } = runOf(2);
    giveUpAll(run, [...run.open], 100_000);
    expect([run.handOver.length, run.handOverAt]).toEqual([2, 106_000]);
  });

  it('that was redriven is told of as new work, also when it was written meanwhile', () => {
    const redriven = failedWrite({ key: 'k', id: 'seen', redrive: 1, record: POSITION });
    const input = { link: 'l', policy, part: PART, writes: [packed(redriven)] };
    const run = newRun(input);
    takeReply(run, dueKeys(run, 1), { ...ALL_EQUAL, lookAgain: [0] }, 1);
    giveUpAll(run, [], 2);
    const before = addFailedWrites(NOTHING_PENDING, [failedWrite({ key: 'k', id: 'seen' })], policy, 0);
    const { rest } = takeRound(before);
    expect(addFailedWrites(rest, [unpacked(input, run.handOver[0]!)], policy, 2).count).toBe(1);
  });

  it('is compared by the run that its batch continues as no sooner than by this one', () => {
    const { run, take } = runOf(2);
    const failed = [{ indices: [1], error: ERROR, permanent: false, effect: 'unknown' as const }];
    take({ lookAgain: [0], failed }, 100_000);
    const writes = [...run.open].map((key) => leaving(key, 100_000));
    const carried = { keys: 2, equal: 0, repaired: 0, handedOver: 0, provesAt: latestProof(run) };
    const next = newRun({ link: 'l', policy, part: PART, writes, carried });
    expect([dueKeys(next, 105_999, true).length, nextDue(next), dueKeys(next, 106_000).length]).toEqual([
      0, 106_000, 2,
    ]);
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
