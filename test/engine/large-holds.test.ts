/**
 * What replacing a large value costs: no command holds a server for long, and the worker's memory
 * stays bounded.
 */
import { execFile } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest';
import type { KeyResult } from '../../src/engine/index.js';
import { replaceLargeKey } from '../../src/engine/large/replacement.js';
import { lastedUs, workedUs } from '../redis/commandstats.js';
import { generatedCases } from '../support/cases.js';
import { compareRedis } from '../support/compare.js';
import type { RedisServer } from '../support/redis.js';
import { fillList, fillStream, stringOf } from './large-values.js';
import { DEFAULT_OPTIONS, startLink, type TestLink, withMemory } from './link.js';

const LONG_US = 10_000;
/** Any command is long now and then; one that always is was so in every run. */
const MOST_RUNS = 8;

let link: TestLink;
beforeAll(async () => {
  link = await startLink();
});
afterAll(() => link?.stop());
beforeEach(() => link.clear());

/** @returns how long the server had been at work until then */
async function resetSlowlog(server: RedisServer): Promise<number> {
  const { client } = server;
  await client.config('SET', 'slowlog-log-slower-than', `${LONG_US}`);
  await client.config('SET', 'slowlog-max-len', '10000');
  await client.call('SLOWLOG', 'RESET');
  await client.config('RESETSTAT');
  return workedUs(server);
}

/**
 * What was long, without what differs from run to run: names of temporary keys, points in time. On
 * a busy machine all commands last longer than the server works, and each may last as much longer.
 */
async function longCommands(server: RedisServer, side: string, workedBefore: number): Promise<Set<string>> {
  const { client } = server;
  const slower = Math.max(1, (await lastedUs(server)) / ((await workedUs(server)) - workedBefore));
  const log = (await client.call('SLOWLOG', 'GET', '10000')) as [number, number, number, string[], string, string][];
  const ours = log.filter(([, , us, , , name]) => name === 'keymend' && us > LONG_US * slower);
  const unique = (text: string) => text.replace(/[0-9a-f]{8}-[0-9a-f-]{27}|\d{13}/g, '…');
  return new Set(ours.map(([, , , args]) => `${side}: ${args.map(unique).join(' ').slice(0, 200)}`));
}

/** Commands of ours that were long in every run. */
async function alwaysLong(diverge: () => Promise<unknown>): Promise<string[]> {
  let always: string[] | null = null;
  for (let run = 1; run <= MOST_RUNS && always?.length !== 0; run++) {
    await diverge();
    const [source, target] = await Promise.all([resetSlowlog(link.source), resetSlowlog(link.target)]);
    const result = await replaceLargeKey(
      withMemory(link.sides),
      Buffer.from('k'),
      { ...DEFAULT_OPTIONS, allowDelete: true },
      () => {},
    );
    expect(result).toMatchObject({ outcome: 'repaired' });
    const long = new Set([
      ...(await longCommands(link.source, 'source', source)),
      ...(await longCommands(link.target, 'target', target)),
    ]);
    always = [...(always ?? long)].filter((command) => long.has(command));
  }
  expect(await compareRedis(link.source.client, link.target.client)).toEqual([]);
  return always!;
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
  expect(await alwaysLong(damage)).toEqual([]);
  expect(await alwaysLong(() => link.target.client.unlink('k'))).toEqual([]);
});

test('no command holds a server for more than 10 ms when a large key is deleted', async () => {
  expect(await alwaysLong(() => fillList(link.target.client, 200_000))).toEqual([]);
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
