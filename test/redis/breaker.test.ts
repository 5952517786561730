/** Whether a server is taken for away: decided by what it is asked, not by what one key has met. */
import { afterEach, beforeEach, expect, test } from 'vitest';
import { Breaker, looksOut } from '../../src/redis/breaker.js';
import { RedisFailure } from '../../src/redis/connection/failure.js';
import { eventually } from '../support/eventually.js';

const KEYS = [Buffer.from('k')];
const NO_ANSWER = new RedisFailure('TIMEOUT', 'no answer in time');

let answer: RedisFailure | null;
let asked: number;
let firstAnswerMs: number | null;
let breaker: Breaker;
beforeEach(() => {
  answer = null;
  asked = 0;
  const probe = async () => {
    asked += 1;
    if (answer === null) firstAnswerMs ??= performance.now();
    return answer;
  };
  breaker = new Breaker('target', probe, { began() {}, ended() {} });
});
afterEach(() => breaker.close());

async function outage(): Promise<void> {
  answer = NO_ANSWER;
  expect(await breaker.suspect(KEYS)).not.toBeNull();
}

/** @returns for how long the server has answered until its keys may go on, in ms */
async function recovered(): Promise<number> {
  answer = null;
  firstAnswerMs = null;
  await eventually(() => expect(breaker.waits(KEYS)).toBeNull());
  return performance.now() - firstAnswerMs!;
}

test('a server that answers when it is asked once more is not away', async () => {
  expect(await breaker.suspect(KEYS)).toBeNull();
  expect(breaker.waits(KEYS)).toBeNull();
  expect(asked).toBe(1);
});

test('many who had a failure at once ask it once', async () => {
  answer = NO_ANSWER;
  const told = await Promise.all(Array.from({ length: 50 }, () => breaker.suspect(KEYS)));
  expect(told.every((each) => each?.kind === 'deferred')).toBe(true);
  expect(asked).toBe(1);
});

test.each(['TIMEOUT', 'CONNECTION', 'LOADING', 'BUSY', 'CLUSTERDOWN'])('%s looks like an outage', (code) => {
  expect(looksOut(new RedisFailure(code, ''))).toBe(true);
});

test.each(['OOM', 'READONLY', 'NOPERM', 'WRONGTYPE', 'MOVED', 'ERR'])('%s does not', (code) => {
  expect(looksOut(new RedisFailure(code, ''))).toBe(false);
});

test('keys are told times that lie apart, as many as they are', async () => {
  await outage();
  const many = Array.from({ length: 100 }, (_, index) => Buffer.from(`${index}`));
  const first = breaker.waits(many)!.retryAfterMs;
  const second = breaker.waits(many)!.retryAfterMs;
  // A hundred keys, of which five a second come.
  expect(second - first).toBeGreaterThan(18_000);
});

test('keys that come again as one take the time of one', async () => {
  await outage();
  const many = Array.from({ length: 1_000 }, (_, index) => Buffer.from(`${index}`));
  const last = Array.from({ length: 5 }, () => breaker.waits(many, 1)!.retryAfterMs).at(-1)!;
  expect(last).toBeLessThan(5_000);
});

test('a server that is away again soon has to answer for a second before keys go on, then for two', async () => {
  await outage();
  await recovered();
  for (const leastMs of [1_000, 2_000]) {
    await outage();
    expect(await recovered()).toBeGreaterThanOrEqual(leastMs);
  }
});

test('nobody asks any more once it is closed', async () => {
  await outage();
  breaker.close();
  const before = asked;
  await new Promise((resolve) => setTimeout(resolve, 600));
  expect(asked).toBe(before);
});
