import { describe, expect, test } from 'vitest';
import type { Difference } from '../../src/demo/compare.js';
import { type DemoResult, describeResult, problemOf, resultOf, verdictOf } from '../../src/demo/result.js';

const differs = (key: string, what = 'content of string'): Difference => ({ key: Buffer.from(key), what });
const repair = (workflowId: string, closedAt: number, outcome: 'repaired' | 'equal' = 'repaired') => ({
  workflowId,
  closedAt,
  outcome,
});

/**
 * Of five keys one was repaired before the last outage, two differ after it, and one of those is
 * deleted on the source.
 */
const RESULT = resultOf({
  written: {
    operations: 100,
    failedWrites: 40,
    throughOutbox: 10,
    lost: 0,
    breakerOpened: 2,
    lastFailedAt: new Map([
      ['a', 1_000],
      ['b', 2_000],
    ]),
  },
  outage: { keys: 60, failedWrites: 60, lost: 0 },
  converged: {
    before: { keys: 5, differences: [differs('a'), differs('b', 'missing on a')] },
    closed: [repair('c', 500), repair('a', 900), repair('a', 3_000), repair('b', 2_500), repair('b', 2_600, 'equal')],
    batches: [],
    retried: 0,
    escalated: 0,
    healedMs: 3_200,
  },
  sweep: { unnoticed: 3, found: 3, compared: 64, repaired: 3, outcome: 'equal', listed: [] },
  after: { keys: 64, differences: [] },
  page: '/demo/timeline.html',
});

test('the numbers add up: what differed, what was repaired of it and before, and what is left', () => {
  expect(RESULT).toMatchObject({
    keysComparedBefore: 5,
    divergedBefore: 2,
    deletedOnSource: 1,
    workflows: 5,
    repaired: 3,
    repairedOfDiverged: 2,
    keysCompared: 64,
    divergedNow: 0,
    convergenceMs: { p50: 2_000, p99: 2_000 },
  });
  const text = describeResult(RESULT).join('\n');
  expect(text).toMatch(/^written +160 operations, of which 100 failed/m);
  expect(text).toMatch(/^recorded +90 by Kafka, 10 by the outbox/m);
  expect(text).toMatch(/^diverged +2 of the 5 keys .* 1 of them the source had deleted$/m);
  expect(text).toMatch(/^repaired +3 keys: 2 of those, and 1 before/m);
  expect(text).toMatch(/^outage +60 keys .* equal 3\.2 s after it was back$/m);
  expect(text).toMatch(/^sweep +64 keys compared: found 3 of the 3 .* repaired 3$/m);
  expect(text).toMatch(/^diverged now +0 of 64 keys$/m);
  expect(text).toMatch(/^timeline +\/demo\/timeline\.html$/m);
  expect(verdictOf(RESULT)).toBe('the two Redis are equal: 64 keys, 0 differ');
});

test('keys that were repaired in batches are told of beside those with workflows of their own', () => {
  const text = describeResult({ ...RESULT, batches: 2, repairedInBatches: 45 }).join('\n');
  expect(text).toMatch(/^repaired .*; 45 more in 2 batches, which waited for the target as one$/m);
  expect(describeResult(RESULT).join()).not.toContain('more in');
});

describe('the verdict is', () => {
  test.each<[string, Partial<DemoResult>, RegExp | undefined]>([
    ['good when all that diverged is equal again', {}, undefined],
    ['bad when keys still differ', { divergedNow: 3 }, /not equal: 3 of 64 keys differ/],
    ['bad when keys are given up on', { escalated: 1 }, /1 key is still escalated/],
    ['bad when failed writes were recorded nowhere', { lostRecords: 2 }, /2 failed writes/],
    ['bad when the sweep missed one', { sweep: { ...RESULT.sweep, found: 2 } }, /found 2 of the 3 keys/],
    ['bad when nothing ever differed', { divergedBefore: 0 }, /nothing was shown/],
  ])('%s', (_title, changes, problem) => {
    expect(problemOf({ ...RESULT, ...changes })).toEqual(
      problem === undefined ? undefined : expect.stringMatching(problem),
    );
  });
});
