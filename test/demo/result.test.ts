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
  before: { keys: 5, differences: [differs('a'), differs('b', 'missing on a')] },
  after: { keys: 4, differences: [] },
  closed: [repair('c', 500), repair('a', 900), repair('a', 3_000), repair('b', 2_500), repair('b', 2_600, 'equal')],
  retried: 0,
  escalated: 0,
});

test('the numbers add up: what differed, what was repaired of it and before, and what is left', () => {
  expect(RESULT).toMatchObject({
    keysComparedBefore: 5,
    divergedBefore: 2,
    deletedOnSource: 1,
    workflows: 5,
    repaired: 3,
    repairedOfDiverged: 2,
    keysCompared: 4,
    divergedNow: 0,
    convergenceMs: { p50: 2_000, p99: 2_000 },
  });
  const text = describeResult(RESULT).join('\n');
  expect(text).toMatch(/^recorded +30 by Kafka, 10 by the outbox/m);
  expect(text).toMatch(/^diverged +2 of the 5 keys .* 1 of them the source had deleted$/m);
  expect(text).toMatch(/^repaired +3 keys: 2 of those, and 1 before/m);
  expect(text).toMatch(/^diverged now +0 of 4 keys: .* 1 fewer$/m);
  expect(verdictOf(RESULT)).toBe('the two Redis are equal: 4 keys, 0 differ');
});

test('keys that were repaired in batches are told of beside those with workflows of their own', () => {
  const text = describeResult({ ...RESULT, batches: 2, repairedInBatches: 45 }).join('\n');
  expect(text).toMatch(/^repaired .*; 45 more in 2 batches, which waited for the target as one$/m);
  expect(describeResult(RESULT).join()).not.toContain('batches');
});

describe('the verdict is', () => {
  test.each<[string, Partial<DemoResult>, RegExp | undefined]>([
    ['good when all that diverged is equal again', {}, undefined],
    ['bad when keys still differ', { divergedNow: 3 }, /not equal: 3 of 4 keys differ/],
    ['bad when keys are given up on', { escalated: 1 }, /1 key is still escalated/],
    ['bad when failed writes were recorded nowhere', { lostRecords: 2 }, /2 failed writes/],
    ['bad when nothing ever differed', { divergedBefore: 0 }, /nothing was shown/],
  ])('%s', (_title, changes, problem) => {
    expect(problemOf({ ...RESULT, ...changes })).toEqual(
      problem === undefined ? undefined : expect.stringMatching(problem),
    );
  });
});
