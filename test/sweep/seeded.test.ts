/** Differences of every kind among many keys, while applications write: each is found, no other. */
import { setTimeout as sleep } from 'node:timers/promises';
import type { Redis } from 'ioredis';
import { afterAll, afterEach, beforeAll, expect, test } from 'vitest';
import type { DifferenceKind } from '../../workflows/sweep-messages.js';
import { startLink, type TestLink } from '../engine/link.js';
import { IS_FULL } from '../support/cases.js';
import { swept } from './bed.js';

const KEYS = IS_FULL ? 1_000_000 : 30_000;
const WRITES_PER_SECOND = IS_FULL ? 5_000 : 1_000;

let link: TestLink;
beforeAll(async () => {
  link = await startLink(['--enable-debug-command', 'local'], ['--enable-debug-command', 'local']);
});
afterAll(() => link?.stop());
afterEach(() => link.clear());

type Command = [string, ...(string | number)[]];

/** How a key comes to be on both sides, and what then makes them differ. */
const SEEDS: readonly {
  readonly kind: DifferenceKind;
  readonly name: string;
  readonly both: (key: string) => Command[];
  readonly source?: (key: string) => Command[];
  readonly target?: (key: string) => Command[];
}[] = [
  { kind: 'missing', name: 'lost', both: () => [], source: (key) => [['SET', key, 'v']] },
  { kind: 'extra', name: 'left', both: () => [], target: (key) => [['HSET', key, 'f', 'v']] },
  {
    kind: 'type',
    name: 'other',
    both: (key) => [['SET', key, 'v']],
    target: (key) => [
      ['DEL', key],
      ['SADD', key, 'v'],
    ],
  },
  {
    kind: 'expiry',
    name: 'lease',
    both: (key) => [['SET', key, 'v', 'EX', 3_600]],
    target: (key) => [['PERSIST', key]],
  },
  { kind: 'value', name: 'string', both: (key) => [['SET', key, 'v']], target: (key) => [['SET', key, 'w']] },
  { kind: 'value', name: 'hash', both: (key) => [['HSET', key, 'f', 'v']], target: (key) => [['HSET', key, 'g', 'v']] },
  { kind: 'value', name: 'list', both: (key) => [['RPUSH', key, 'a', 'b']], target: (key) => [['RPOP', key]] },
  { kind: 'value', name: 'set', both: (key) => [['SADD', key, 'a', 'b']], target: (key) => [['SREM', key, 'b']] },
  { kind: 'value', name: 'zset', both: (key) => [['ZADD', key, 1, 'a']], target: (key) => [['ZADD', key, 2, 'a']] },
  {
    kind: 'value',
    name: 'stream',
    both: (key) => [['XADD', key, '1-1', 'f', 'v']],
    target: (key) => [['XADD', key, '2-1', 'f', 'v']],
  },
];
const OF_EACH = 5;

async function write(client: Redis, commands: readonly Command[]): Promise<void> {
  const pipeline = client.pipeline();
  for (const command of commands) pipeline.call(...command);
  await pipeline.exec();
}

/** @returns the key of each difference, with its kind */
async function seed(): Promise<[string, DifferenceKind][]> {
  const seeded: [string, DifferenceKind][] = [];
  for (const { kind, name, both, source = () => [], target = () => [] } of SEEDS) {
    for (let index = 0; index < OF_EACH; index++) {
      const key = `seeded:${name}:${index}`;
      await write(link.source.client, [...both(key), ...source(key)]);
      await write(link.target.client, [...both(key), ...target(key)]);
      seeded.push([key, kind]);
    }
  }
  return seeded.sort();
}

const EVERY_MS = 10;

/** As many writes a second as are wanted, each on the target a moment after the source. */
async function writing(while_: Promise<unknown>): Promise<number> {
  let isOver = false;
  const over = () => {
    isOver = true;
  };
  while_.then(over, over);
  const mirrored: Promise<void>[] = [];
  const random = (below: number) => Math.floor(Math.random() * below);
  const begunAt = performance.now();
  let written = 0;
  const expiresAt = Date.now() + 3_600_000;
  while (!isOver) {
    const due = Math.floor(((performance.now() - begunAt) * WRITES_PER_SECOND) / 1_000) - written;
    const commands = Array.from({ length: due }, (_, index): Command => {
      const turn = written + index;
      if (turn % 50 === 0) return ['HINCRBY', `counter:${random(20)}`, 'n', 1];
      if (turn % 20 === 0) return ['SET', `session:${turn}`, 'v', 'PXAT', expiresAt];
      if (turn % 20 === 10) return ['DEL', `session:${random(turn + 1)}`];
      return ['SET', `user:${random(KEYS)}`, `value ${turn}`];
    });
    written += commands.length;
    if (commands.length > 0) {
      await write(link.source.client, commands);
      mirrored.push(sleep(3).then(() => write(link.target.client, commands)));
    }
    if (mirrored.length > 100) await mirrored.shift();
    await sleep(EVERY_MS);
  }
  await Promise.all(mirrored);
  return written;
}

test(`${KEYS} keys under ${WRITES_PER_SECOND} writes a second: each difference is found, and none is invented`, async () => {
  for (const { client } of [link.source, link.target]) await client.call('DEBUG', 'POPULATE', KEYS, 'user', 20);
  const seeded = await seed();
  // At the intensity that it has by itself.
  const sweep = swept(link.sides, { rate: undefined }, { settleMs: 200 });
  const written = await writing(sweep);
  const { listed, differing, compared, failed, timeline } = (await sweep).summary!;
  expect(written).toBeGreaterThan(0);
  expect(listed.map(({ key, difference }) => [key, difference]).sort()).toEqual(seeded);
  expect(Object.values(differing).reduce((sum, count) => sum + count, 0)).toBe(seeded.length);
  expect(timeline.found.reduce((sum, { keys }) => sum + keys, 0)).toBe(seeded.length);
  expect(compared).toBeGreaterThanOrEqual(KEYS + seeded.length - 2 * OF_EACH);
  expect(failed).toBe(0);
}, 1_200_000);

test('a target with far more keys than the source: all of them are told of, some by name', async () => {
  await link.target.client.call('DEBUG', 'POPULATE', KEYS, 'left', 20);
  for (const { client } of [link.source, link.target]) await client.call('DEBUG', 'POPULATE', 10, 'user', 20);
  const { summary } = await swept(link.sides);
  expect(summary).toMatchObject({ compared: KEYS + 10, differing: { extra: KEYS, missing: 0 }, outcome: 'divergent' });
  expect(summary!.listed).toHaveLength(1_000);
  expect(summary!.prefixes).toEqual([{ prefix: 'left:', keys: KEYS, differing: { extra: KEYS } }]);
}, 1_200_000);
