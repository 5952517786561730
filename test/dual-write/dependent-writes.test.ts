/**
 * Writes that depend on one that the target missed: whatever was mirrored meanwhile, reconciling
 * the records makes both sides equal.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, afterEach, beforeAll, describe, expect, test, vi } from 'vitest';
import { isIdempotent } from '../../src/commands/command.js';
import type { DualWriter } from '../../src/dual-write/dual-writer.js';
import { type LinkSides, scopeOf } from '../../src/engine/index.js';
import { connectRedis } from '../../src/redis/index.js';
import { addFailedWrites, NOTHING_PENDING } from '../../workflows/pending.js';
import type { Pending } from '../../workflows/run-state.js';
import { reconcileOne } from '../engine/link.js';
import { reconcileAnySize } from '../engine/topology.js';
import { compareRedis } from '../support/compare.js';
import { eventually } from '../support/eventually.js';
import { POLICY } from '../support/workflow-bed.js';
import { type Bed, settled, startBed } from './bed.js';

let bed: Bed;
let sides: LinkSides;
beforeAll(async () => {
  bed = await startBed();
  sides = {
    source: connectRedis({ url: bed.source.url }, { name: 'source' }),
    target: connectRedis({ url: bed.target.url }, { name: 'target' }),
  };
});
afterEach(() => bed.reset());
afterAll(async () => {
  await Promise.all([sides?.source.close(), sides?.target.close()]);
  await bed?.stop();
});

/** The target misses one write; those before and after it are mirrored. */
async function miss(writer: DualWriter, write: () => Promise<unknown>): Promise<void> {
  bed.link.cut();
  while (bed.sink.records.at(-1)?.error?.code !== 'NOT_CONNECTED') {
    await writer.set('probe', 'v');
    await settled(writer);
  }
  bed.sink.records.length = 0;
  await write();
  await settled(writer);
  bed.link.restore();
  const { mirrored } = writer.stats();
  while (writer.stats().mirrored === mirrored) {
    await writer.set('probe', '1');
    await settled(writer);
  }
}

/**
 * Reconciles what is recorded, each key in the part that its records name, until nothing is
 * recorded any more.
 */
async function reconcileAll(): Promise<void> {
  while (bed.sink.records.length > 0) {
    const pending = new Map<string, Pending>();
    for (const record of bed.sink.records.splice(0)) {
      const event = { ...record, idempotent: isIdempotent(record.command ?? '') };
      pending.set(record.key, addFailedWrites(pending.get(record.key) ?? NOTHING_PENDING, [event], POLICY, Date.now()));
    }
    for (const [key, { hint }] of pending) {
      const request = { key: Buffer.from(key), scope: scopeOf(hint), allowDelete: true };
      expect(await reconcileAnySize(sides, [request])).not.toMatchObject([{ outcome: 'failed' }]);
    }
  }
}

async function expectEqual(): Promise<void> {
  expect(await compareRedis(bed.source.client, bed.target.client)).toEqual([]);
}

test.each<[string, (writer: DualWriter) => Promise<unknown>, lost: string, sent: string]>([
  ['a pop that takes another member', (writer) => writer.zadd('z', 5, 'y', 6, 'w'), 'ZADD z 1 x', 'ZPOPMIN z'],
  ['a set stored from the key', (writer) => writer.sadd('s', 'a'), 'SADD s x', 'SUNIONSTORE d s'],
  ['a copy of the key', (writer) => writer.set('s', 'a'), 'SET s x', 'COPY s d'],
  ['a new name of the key', (writer) => writer.set('s', 'a'), 'SET s x', 'RENAME s d'],
  ['a trim by rank', (writer) => writer.zadd('z', 5, 'y', 6, 'w'), 'ZADD z 1 x', 'ZREMRANGEBYRANK z 0 0'],
])('%s', async (_what, before, lost, sent) => {
  const writer = await bed.writer();
  await before(writer);
  await settled(writer);
  const send = (line: string) => writer.call(...(line.split(' ') as [string, ...string[]]));
  await miss(writer, () => send(lost));
  await send(sent);
  await settled(writer);
  await reconcileAll();
  await expectEqual();
});

test('a key that expired on the target alone, after a PERSIST was lost, and is made anew there by one field', async () => {
  const writer = await bed.writer();
  await writer.hset('h', { a: '1', b: '2' });
  await writer.pexpire('h', 300);
  await settled(writer);
  await miss(writer, () => writer.persist('h'));
  await eventually(async () => expect(await bed.target.client.exists('h')).toBe(0));
  await writer.hset('h', 'c', '3');
  await settled(writer);
  await reconcileAll();
  await expectEqual();
});

test.each<[string, (writer: DualWriter) => Promise<unknown>]>([
  ['an expiry was', (writer) => writer.pexpire('h', 200)],
  ['an expiry at a moment was', (writer) => writer.pexpireat('h', Date.now() + 200)],
  ['an expiry in the past was', (writer) => writer.pexpireat('h', 1)],
  [
    'an expiry by a clock that is behind was',
    async (writer) => {
      const now = Date.now();
      vi.useFakeTimers({ toFake: ['Date'], now: now - 120_000 });
      await writer.pexpireat('h', now - 60_000);
      await settled(writer);
      vi.useRealTimers();
    },
  ],
])('a key that expired on the source alone, after %s lost, and is made anew there by one field', async (_, expire) => {
  const writer = await bed.writer();
  await writer.hset('h', { a: '1', b: '2' });
  await settled(writer);
  await miss(writer, () => expire(writer));
  await eventually(async () => expect(await bed.source.client.exists('h')).toBe(0));
  await writer.hset('h', 'c', '3');
  await settled(writer);
  expect(await bed.target.client.hlen('h')).toBe(3);
  await reconcileAll();
  await expectEqual();
});

/** Of one key; a doubt that comes with it is left out, for the record has to do without. */
function recorded(key: string): unknown[] {
  const certain = bed.sink.records.filter(({ error }) => error?.code !== 'EXPIRED_MEANWHILE');
  bed.sink.records.splice(0, Number.POSITIVE_INFINITY, ...certain);
  return bed.sink.records.filter((record) => record.key === key).map(({ command }) => command);
}

/** So many that one call does not go through them. */
const LARGE = Object.fromEntries(Array.from({ length: 6_000 }, (_, field) => [`f${field}`, 'v']));

test.each<[string, (writer: DualWriter) => Promise<unknown>]>([
  ['by one field', (writer) => writer.hset('h', 'c', '3')],
  ['as a whole', (writer) => writer.hset('h', { ...LARGE, c: '3' })],
])(
  'a large key that expired on the target alone, after a PERSIST was lost, and is made anew there %s',
  async (_, make) => {
    const writer = await bed.writer();
    await writer.hset('h', { ...LARGE, old: '1' });
    await writer.pexpire('h', 5_000);
    await settled(writer);
    await miss(writer, () => writer.persist('h'));
    await eventually(async () => expect(await bed.target.client.exists('h')).toBe(0));
    await make(writer);
    await settled(writer);
    expect(recorded('h')).toEqual(['PERSIST']);
    await reconcileAll();
    await expectEqual();
  },
);

test.each<[string, (writer: DualWriter) => Promise<unknown>, (writer: DualWriter) => Promise<unknown>]>([
  ['large, by one field', (writer) => writer.hset('k', { ...LARGE, old: '1' }), (writer) => writer.hset('k', 'c', '3')],
  ['a bitmap, by SETBIT', (writer) => writer.setbit('k', 7, 1), (writer) => writer.setbit('k', 0, 1)],
  ['a string, by SETRANGE', (writer) => writer.set('k', 'abc'), (writer) => writer.setrange('k', 2, 'z')],
])(
  'a key that expired on the source alone, after an expiry was lost, and is made anew there: %s',
  async (_, before, make) => {
    const writer = await bed.writer();
    await before(writer);
    await settled(writer);
    await miss(writer, () => writer.pexpire('k', 200));
    await eventually(async () => expect(await bed.source.client.exists('k')).toBe(0));
    await make(writer);
    await settled(writer);
    expect(recorded('k')).toEqual(['PEXPIRE']);
    await reconcileAll();
    await expectEqual();
  },
);

/** Each makes its key where that has ended, with the same answer. */
const MAKING: Readonly<Record<string, readonly [before: string, write: string]>> = {
  hash: ['HSET hash a 1', 'HSET hash b 2'],
  counters: ['HSET counters a 1', 'HINCRBY counters b 2'],
  set: ['SADD set a', 'SADD set b'],
  zset: ['ZADD zset 1 a', 'ZINCRBY zset 2 b'],
  log: ['PFADD log a', 'PFADD log b'],
  stream: ['XADD stream * a 1', 'XADD stream * b 2'],
  bits: ['SETBIT bits 7 1', 'SETBIT bits 0 0'],
  text: ['SET text abc', 'SETRANGE text 2 c'],
  kept: ['SET kept abc', 'SET kept abd KEEPTTL'],
  float: ['SET float 1.5', 'INCRBYFLOAT float 1'],
};

test('a key that ends while a write is on its way is not made anew by it without an end, unheard', async () => {
  const writer = await bed.writer({ timeoutMs: 20_000 });
  const send = (line: string) => writer.call(...(line.split(' ') as [string, ...string[]]));
  for (const [key, [before]] of Object.entries(MAKING)) {
    await send(before);
    await writer.pexpire(key, 6_000);
  }
  await settled(writer);
  bed.sink.records.length = 0;
  bed.link.swallow();
  for (const [, write] of Object.values(MAKING)) await send(write);
  await eventually(async () => expect(await bed.source.client.exists(...Object.keys(MAKING))).toBe(0));
  await eventually(async () => expect(await bed.target.client.exists(...Object.keys(MAKING))).toBe(0));
  bed.link.release();
  await settled(writer);
  expect(await bed.target.client.ttl('hash')).toBe(-1);
  const told = bed.sink.records.map(({ key, command, error }) => [key, command, error?.code]);
  expect(told).toEqual(Object.keys(MAKING).map((key) => [key, undefined, 'EXPIRED_MEANWHILE']));
  await reconcileAll();
  await expectEqual();
});

describe('a time to live', () => {
  /** Within what keymend takes for equal. */
  async function expectSameEnd(): Promise<void> {
    const [source, target] = await Promise.all([bed.source, bed.target].map(({ client }) => client.pexpiretime('k')));
    expect(Math.abs(source! - target!)).toBeLessThanOrEqual(100);
  }

  async function usual(): Promise<DualWriter> {
    const writer = await bed.writer({ timeoutMs: 20_000 });
    for (let turn = 0; turn < 10; turn++) {
      await writer.set('other', 'v');
      await settled(writer);
    }
    return writer;
  }

  const drifted = () => bed.sink.records.filter(({ error }) => error?.code === 'EXPIRY_DRIFTED').map(({ key }) => key);

  test('that took much longer to the target than usual is recorded', async () => {
    const writer = await usual();
    bed.link.swallow();
    await writer.set('k', 'v', 'PX', 60_000);
    await sleep(300);
    bed.link.release();
    await settled(writer);
    expect(drifted()).toEqual(['k']);
    await reconcileAll();
    await expectSameEnd();
  });

  test.each<[string, (writer: DualWriter) => Promise<unknown>]>([
    ['', async () => {}],
    [' behind another whose caller then did something', (writer) => writer.set('other', 'v').then(() => spin(5))],
    [
      ' behind another whose caller then wrote again',
      (writer) => writer.set('other', 'v').then(() => writer.set('other', 'w')),
    ],
  ])('of which a busy process read the answer late%s is recorded', async (_, inFront) => {
    const writer = await usual();
    await writer.set('large', 'v'.repeat(300_000));
    await settled(writer);
    // So large an answer between the two that each comes with a read of its own.
    const written = [inFront(writer), writer.get('large'), writer.set('k', 'v', 'PX', 60_000)];
    // Its bytes leave behind this turn.
    process.nextTick(() => spin(300));
    await Promise.all(written);
    await settled(writer);
    expect(drifted()).toEqual(['k']);
    await reconcileAll();
    await expectSameEnd();
  });
});

function spin(ms: number): void {
  for (const until = performance.now() + ms; performance.now() < until; );
}

test('an INCR that lands after the repair which brought it already', async () => {
  const writer = await bed.writer();
  await writer.set('n', 1);
  await settled(writer);
  await miss(writer, () => writer.set('n', 10));
  bed.link.swallow();
  await writer.incr('n');
  await reconcileAll();
  expect(await bed.target.client.get('n')).toBe('11');
  bed.link.release();
  await settled(writer);
  await reconcileAll();
  await expectEqual();
});

test('a trim by position that lands after a repair which brought it already, and which another writer asked for', async () => {
  const writer = await bed.writer();
  await writer.rpush('l', 'a', 'b', 'c', 'd');
  await settled(writer);
  bed.link.swallow();
  await writer.ltrim('l', 1, -1);
  expect(await reconcileOne(sides, 'l', {})).not.toMatchObject({ outcome: 'failed' });
  expect(await bed.target.client.lrange('l', 0, -1)).toEqual(['b', 'c', 'd']);
  bed.link.release();
  await settled(writer);
  await reconcileAll();
  await expectEqual();
});
