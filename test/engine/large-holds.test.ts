/**
 * What replacing a large value costs: no command holds a server for long, and the worker's memory
 * stays bounded.
 */
import { execFile } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest';
import type { KeyResult } from '../../src/engine/index.js';
import { replaceLargeKey } from '../../src/engine/large/replacement.js';
import { generatedCases } from '../support/cases.js';
import { compareRedis } from '../support/compare.js';
import type { RedisServer } from '../support/redis.js';
import { longestHold } from './held.js';
import { fillList, fillStream, stringOf } from './large-values.js';
import { DEFAULT_OPTIONS, startLink, type TestLink, withMemory } from './link.js';

const MOST_MS = 10;

let link: TestLink;
beforeAll(async () => {
  link = await startLink();
});
afterAll(() => link?.stop());
beforeEach(() => link.clear());

/** Replaces the key after it was made to differ. */
async function expectShortHolds(diverge: () => Promise<unknown>, mostMs = MOST_MS): Promise<void> {
  const longest = await longestHold([link.source, link.target], mostMs, async () => {
    await diverge();
    const options = { ...DEFAULT_OPTIONS, allowDelete: true };
    const result = await replaceLargeKey(withMemory(link.sides), Buffer.from('k'), options, () => {});
    expect(result).toMatchObject({ outcome: 'repaired' });
  });
  expect(longest.ms, longest.text).toBeLessThanOrEqual(mostMs);
  expect(await compareRedis(link.source.client, link.target.client)).toEqual([]);
}

function both(act: (client: RedisServer['client']) => Promise<unknown>): Promise<unknown> {
  return Promise.all([act(link.source.client), act(link.target.client)]);
}

const LARGE_STRING = stringOf(24 << 20);
const CASES: [string, fill: (client: RedisServer['client']) => Promise<unknown>, damage: () => Promise<unknown>][] = [
  [
    'a string of 24 MiB',
    (client) => client.set('k', LARGE_STRING),
    () => link.target.client.setrange('k', 9_000_000, '?'),
  ],
  [
    'a list of 200,000 elements',
    (client) => fillList(client, 200_000),
    () => link.target.client.lset('k', 100_000, '?'),
  ],
  [
    'a list of 200,000 elements after a lost LPUSH',
    (client) => fillList(client, 200_000),
    () => link.source.client.lpush('k', '?'),
  ],
  [
    'a stream of 12,000 entries with pending ones',
    async (client) => {
      await fillStream(client, 12_000);
      await client.xgroup('CREATE', 'k', 'g', '0');
      await client.xreadgroup('GROUP', 'g', 'ann', 'COUNT', 3_000, 'STREAMS', 'k', '>');
    },
    () => link.target.client.xdel('k', '8000-1'),
  ],
];

test.each(CASES)('no command holds a server for more than 10 ms on %s', async (_name, fill, damage) => {
  await both(fill);
  await expectShortHolds(damage);
  await expectShortHolds(() => link.target.client.unlink('k'));
});

/** Small ones, from which nothing can be learnt of the large ones behind them. */
const SMALL_ONES_FIRST: typeof CASES = [
  [
    'a list',
    async (client) => {
      await fillList(client, 1_000);
      await client.eval(`for i = 1, 32 do redis.call('RPUSH', 'k', i .. string.rep('v', 1048576)) end`, 0);
    },
    () => link.target.client.lset('k', 1_031, '?'),
  ],
  [
    'a stream',
    async (client) => {
      await fillStream(client, 130);
      await client.eval(`for i = 1, 32 do redis.call('XADD', 'k', 1000 + i, 'f', string.rep('v', 1048576)) end`, 0);
    },
    () => link.target.client.xdel('k', '1032-0'),
  ],
];

test.each(SMALL_ONES_FIRST)('%s of small ones and then of such of 1 MiB holds no server for long', async (...each) => {
  const [, fill, damage] = each;
  await both(fill);
  await expectShortHolds(damage, 25);
});

test('no command holds a server for more than 10 ms when a large key is deleted', async () => {
  await expectShortHolds(() => fillList(link.target.client, 200_000));
});

test('an element that the server compresses anew with each look is not looked at again and again', async () => {
  const value = randomBytes(2 << 20);
  for (const { client } of [link.source, link.target]) {
    await client.config('SET', 'list-compress-depth', '1');
    for (const part of ['before', 'behind']) {
      if (part === 'behind') await client.rpush('k', value);
      await client.rpush('k', ...Array.from({ length: 3_000 }, (_, n) => `${part} ${n}`));
    }
  }
  const { client } = link.target;
  const look = async () => {
    await client.config('RESETSTAT');
    await client.lrange('k', 2_999, 3_001);
    return Number(/cmdstat_lrange:calls=1,usec=(\d+)/.exec(await client.info('commandstats'))![1]) / 1_000;
  };
  const looks = [];
  for (let n = 0; n < 5; n++) looks.push(await look());
  // Copying it is a look at it, and one at the copy.
  const allowedMs = 4 * Math.max(...looks);
  const longest = await longestHold([link.source, link.target], allowedMs, async () => {
    await client.lset('k', 5_500, '?');
    const result = await replaceLargeKey(withMemory(link.sides), Buffer.from('k'), DEFAULT_OPTIONS, () => {});
    expect(result).toMatchObject({ outcome: 'repaired' });
  });
  expect(longest.ms, longest.text).toBeLessThan(allowedMs);
  expect(await compareRedis(link.source.client, link.target.client)).toEqual([]);
});

/** In a process that does nothing else. */
async function reconcileElsewhere(): Promise<{ result: KeyResult; aboveIdleMiB: number }> {
  const worker = fileURLToPath(new URL('./large-memory-worker.js', import.meta.url));
  const { stdout } = await promisify(execFile)(process.execPath, [worker, link.source.url, link.target.url, 'k']);
  return JSON.parse(stdout);
}

/** As many bytes as two million short fields; a full run has these. */
const FIELDS = generatedCases(0) > 0 ? { count: 2_000_000, bytes: 100 } : { count: 400_000, bytes: 500 };

test(`a hash of 200 MB in ${FIELDS.count} fields that the target lacks is repaired within 150 MiB above idle`, async () => {
  const fill = `
    local value = string.rep('v', ARGV[2])
    for i = 1, ARGV[1] do redis.call('HSET', 'k', 'field:' .. i, value .. i) end`;
  await link.source.client.eval(fill, 0, FIELDS.count, FIELDS.bytes);
  const { result, aboveIdleMiB } = await reconcileElsewhere();
  expect(result).toMatchObject({ outcome: 'repaired', action: 'members' });
  expect(aboveIdleMiB).toBeLessThan(150);
  expect(await link.target.client.hlen('k')).toBe(FIELDS.count);
});

test.each([
  ['that differs in one piece', 'differs'],
  ['that the target lacks', 'lacks'],
])('a string of 200 MiB %s is repaired within 150 MiB above idle', async (_name, how) => {
  const value = stringOf(200 << 20);
  await link.source.client.set('k', value);
  if (how === 'differs') {
    await link.target.client.set('k', value);
    await link.target.client.setrange('k', 100 << 20, '?');
  }
  const { result, aboveIdleMiB } = await reconcileElsewhere();
  expect(result).toMatchObject({ outcome: 'repaired', bytes: 200 << 20 });
  expect(aboveIdleMiB).toBeLessThan(150);
  expect(await link.target.client.strlen('k')).toBe(200 << 20);
});
