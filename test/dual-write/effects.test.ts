/**
 * Whatever an application writes, and whatever of it the target never got: either both sides are
 * equal afterwards, or a record says which key differs, and its reconcile makes them equal.
 */
import * as fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { DualWriter } from '../../src/dual-write/dual-writer.js';
import { toRecords } from '../../src/dual-write/records/to-records.js';
import { classify } from '../../src/dual-write/source/write.js';
import { scopeOf } from '../../src/engine/index.js';
import { connectRedis } from '../../src/redis/index.js';
import type { FailedWrite } from '../../workflows/messages.js';
import { addFailedWrites, NOTHING_PENDING } from '../../workflows/pending.js';
import { reconcileOne, type TestLink } from '../engine/link.js';
import { compareRedis } from '../support/compare.js';
import { type Bed, settled, startBed, unexpected } from './bed.js';

let bed: Bed;
let sides: TestLink['sides'];
let writer: DualWriter;
beforeAll(async () => {
  bed = await startBed();
  sides = {
    source: connectRedis({ url: bed.source.url }, { name: 'source' }),
    target: connectRedis({ url: bed.target.url }, { name: 'target' }),
  };
  writer = await bed.writer();
});
afterAll(async () => {
  await Promise.all([sides?.source.close(), sides?.target.close()]);
  await bed?.stop();
});

/**
 * What a word in braces stands for; `any` for a key of the type at hand. Few of each, so that
 * commands meet.
 */
const WORDS: Readonly<Record<string, readonly string[]>> = {
  s: ['s1', 's2', 's3'],
  l: ['l1', 'l2', 'l3'],
  set: ['set1', 'set2', 'set3'],
  h: ['h1', 'h2'],
  z: ['z1', 'z2', 'z3'],
  st: ['st1', 'st2'],
  m: ['a', 'b', 'c', 'd'],
  v: ['1', '7', '0.1', 'text', ''],
  n: ['-2', '-1', '0', '1', '2', '3'],
  count: ['1', '2', '3'],
  score: ['-1', '0', '0.1', '2', '3', 'inf'],
  add: ['-1', '0.1', '2'],
  ttl: ['1000', '2000', '3000'],
  side: ['LEFT', 'RIGHT'],
  expire: ['NX', 'XX', 'GT', 'LT'],
  id: ['1-1', '2-1', '3-1'],
};

/** On sides that are equal, none of these makes a record. */
const MIRRORED = [
  ...['DEL {any}', 'UNLINK {any} {any}', 'PERSIST {any}', 'EXPIRE {any} {ttl}', 'EXPIRE {any} -1', 'PEXPIREAT {any} 1'],
  ...['EXPIRE {any} {ttl} {expire}', 'PEXPIRE {any} 2000000 {expire}', 'EXPIREAT {any} 4000000000'],
  ...[
    'SET {s} {v}',
    'SET {any} {v} NX',
    'SET {s} {v} XX',
    'SET {s} {v} EX {ttl}',
    'SET {s} {v} NX GET',
    'SET {s} {v} XX GET',
  ],
  ...['SET {s} {v} KEEPTTL', 'SET {s} {v} GET', 'SETNX {s} {v}', 'SETEX {s} {ttl} {v}', 'PSETEX {s} 2000000 {v}'],
  ...['GETSET {s} {v}', 'GETDEL {s}', 'GETEX {s} EX {ttl}', 'GETEX {s} PERSIST', 'GETEX {s} PXAT 1', 'GETEX {s}'],
  ...[
    'MSET {s} {v} {s} {v}',
    'MSETNX {s} {v} {s} {v}',
    'APPEND {s} {v}',
    'INCR {s}',
    'DECRBY {s} 3',
    'INCRBYFLOAT {s} {add}',
  ],
  ...[
    'SETRANGE {s} {count} {v}',
    'SETBIT {s} {count} 1',
    'BITFIELD {s} INCRBY u8 0 5',
    'PFADD hll {m}',
    'APPEND {s} {m}',
  ],
  ...['LPUSH {l} {m} {m}', 'RPUSH {l} {m}', 'LPUSHX {l} {m}', 'RPUSHX {l} {m}', 'LPOP {l}', 'RPOP {l} {count}'],
  ...[
    'LINSERT {l} BEFORE {m} {m}',
    'LSET {l} 0 {m}',
    'LREM {l} {n} {m}',
    'LTRIM {l} 0 2',
    'LTRIM {l} -3 -1',
    'BLPOP {l} {l} 0.01',
  ],
  ...[
    'LMOVE {l} {l} {side} {side}',
    'RPOPLPUSH {l} {l}',
    'LMPOP 2 {l} {l} {side} COUNT {count}',
    'BLMPOP 0.01 1 {l} {side}',
  ],
  ...['BLMOVE {l} {l} {side} {side} 0.01', 'BRPOPLPUSH {l} {l} 0.01', 'BRPOP {l} 0.01'],
  ...['HSET {h} {m} {v} {m} {v}', 'HMSET {h} {m} {v}', 'HSETNX {h} {m} {v}', 'HDEL {h} {m} {m}', 'HINCRBY {h} {m} {n}'],
  ...['HINCRBYFLOAT {h} {m} {add}', 'SADD {set} {m} {m}', 'SREM {set} {m} {m}', 'SMOVE {set} {set} {m}', 'SPOP {set}'],
  ...['SPOP {set} {count}', 'ZADD {z} {score} {m}', 'ZADD {z} {score} {m} {score} {m}', 'ZADD {z} NX {score} {m}'],
  ...[
    'ZADD {z} GT CH {score} {m}',
    'ZADD {z} XX CH {score} {m}',
    'ZADD {z} LT INCR {add} {m}',
    'ZADD {z} CH {score} {m}',
  ],
  ...['ZINCRBY {z} {add} {m}', 'ZREM {z} {m} {m}', 'ZREMRANGEBYSCORE {z} 0 2', 'ZPOPMIN {z}', 'ZPOPMAX {z} {count}'],
  ...[
    'ZMPOP 2 {z} {z} MIN COUNT {count}',
    'BZPOPMIN {z} {z} 0.01',
    'BZMPOP 0.01 1 {z} MAX',
    'GEOADD geo 1 {count} {m}',
  ],
  ...[
    'GEOADD geo NX 1 {count} {m}',
    'XADD {st} * {m} {v}',
    'XADD {st} MAXLEN 3 * {m} {v}',
    'XADD {st} NOMKSTREAM * {m} {v}',
  ],
  ...['XADD {st} {id} {m} {v}', 'XDEL {st} {id} {id}', 'XTRIM {st} MAXLEN {count}', 'XTRIM {st} MAXLEN ~ {count}'],
  ...['XGROUP CREATE {st} {m} 0 MKSTREAM', 'XGROUP DESTROY {st} {m}', 'XGROUP CREATECONSUMER {st} {m} con'],
] as const;

const RECORDED = [
  ...['RENAME {any} {any}', 'RENAMENX {any} {any}', 'COPY {any} {any} REPLACE', 'COPY {any} {any}'],
  ...[
    'SORT {l} ALPHA STORE {l}',
    'LTRIM {l} 1 -1',
    'SUNIONSTORE {set} {set} {set}',
    'SINTERSTORE {set} {set} {set}',
    'SDIFFSTORE {set} {set} {set}',
  ],
  ...[
    'ZUNIONSTORE {z} 2 {z} {z}',
    'ZINTERSTORE {z} 2 {z} {set}',
    'ZRANGESTORE {z} {z} 0 1',
    'GEOSEARCHSTORE {z} geo FROMLONLAT 1 1 BYRADIUS 150 km',
  ],
  ...[
    'BITOP OR {s} {s} {s}',
    'PFMERGE hll hll2 hll',
    'PFADD hll2 {m}',
    'ZREMRANGEBYRANK {z} 0 0',
    'ZREMRANGEBYLEX {z} [a [b',
  ],
  ...[
    'ZADD {z} NX {score} {m} {score} {m}',
    'ZADD {z} XX {score} {m}',
    'ZADD {z} GT {score} {m} {score} {m}',
    'GEOADD geo XX 1 {count} {m}',
  ],
  ...['XREADGROUP GROUP {m} con COUNT 1 STREAMS {st} >', 'XACK {st} {m} {id}', 'XGROUP CREATE {st} {m} $ MKSTREAM'],
] as const;

/** What both sides hold at first, by the type at hand. */
const SEEDS = {
  s: ['SET s1 5', 'SET s2 text EX 5000', 'PFADD hll a'],
  l: ['RPUSH l1 a b c d', 'RPUSH l2 c d'],
  set: ['SADD set1 a b c', 'SADD set2 c d'],
  h: ['HSET h1 a 1 b 2 c text', 'EXPIRE h1 5000'],
  z: ['ZADD z1 1 a 2 b 3 c', 'ZADD z2 0 c 0 d', 'GEOADD geo 1 1 a 1 2 b'],
  st: ['XADD st1 1-1 a 1', 'XADD st1 2-1 a 2', 'XGROUP CREATE st1 a 0'],
} as const;
type Type = keyof typeof SEEDS;

/** A command as the application would send it. */
function commandOf(type: Type, templates: readonly string[]): fc.Arbitrary<string[]> {
  const picks = fc.array(fc.nat(59), { minLength: 8, maxLength: 8 });
  const words = { ...WORDS, any: WORDS[type]! };
  return fc.tuple(fc.constantFrom(...templates), picks).map(([template, picked]) => {
    let used = 0;
    const fill = (_match: string, word: keyof typeof words) => {
      const list = words[word]!;
      return list[picked[used++]! % list.length]!;
    };
    return template.split(' ').map((part) => part.replace(/\{(\w+)\}/, fill));
  });
}

/** Steps of one type and of few commands, so that these meet each other often. */
function stepsFrom<Step>(templates: readonly string[], step: (command: fc.Arbitrary<string[]>) => fc.Arbitrary<Step>) {
  return fc.constantFrom(...(Object.keys(SEEDS) as Type[])).chain((type) => {
    const marks = [`{${type}}`, '{any}', ...(type === 's' ? ['hll'] : type === 'z' ? ['geo'] : [])];
    const fitting = templates.filter((template) => marks.some((mark) => template.includes(mark)));
    return fc
      .subarray(fitting, { minLength: 2, maxLength: 8 })
      .chain((few) => fc.array(step(commandOf(type, few)), { minLength: 2, maxLength: 40 }))
      .map((steps) => ({ type, steps }));
  });
}

/** Equal sides, and nothing recorded. */
async function begin(type: Type): Promise<void> {
  for (const { client } of [bed.source, bed.target]) {
    await client.flushall();
    for (const [command = '', ...args] of SEEDS[type].map((line) => line.split(' '))) {
      await client.call(command, ...args);
    }
  }
  // A time to live begins on each side when it was laid.
  for (const key of await bed.source.client.keys('*')) {
    const expiry = await bed.source.client.pexpiretime(key);
    if (expiry > 0) await bed.target.client.pexpireat(key, expiry);
  }
  bed.sink.records.length = 0;
}

/**
 * Expiries are apart by 1,000 s or equal, but for the time between the source's reply and the look
 * at the clock.
 */
const EXPIRY_TOLERANCE_MS = 10_000;

async function different(): Promise<string[]> {
  const options = { expiryToleranceMs: EXPIRY_TOLERANCE_MS };
  return (await compareRedis(bed.source.client, bed.target.client, options)).map(({ key, what }) => `${key}: ${what}`);
}

/** On the source alone: the target never hears of it, and so a record is made. */
async function lose([command = '', ...args]: string[]): Promise<FailedWrite[]> {
  const found = classify(command, args);
  const done = await bed.source.client.call(command, ...args).then(
    () => true,
    () => false,
  );
  if (found.kind !== 'write' || !done) return [];
  return toRecords([found.write], { outcome: 'unknown', error: { code: 'LOST', message: '' } }, bed.names);
}

/**
 * As the bridge and the workflow do, but at once: the scope that all records of a key leave, then
 * its reconcile.
 */
async function reconcile(records: readonly FailedWrite[]): Promise<void> {
  const policy = { settleMs: 0, verify: 'never' } as Parameters<typeof addFailedWrites>[2];
  const byKey = new Map<string, FailedWrite[]>();
  for (const record of records) byKey.set(record.key, [...(byKey.get(record.key) ?? []), record]);
  for (const [key, events] of byKey) {
    const { hint } = addFailedWrites(NOTHING_PENDING, events, policy, Date.now());
    const result = await reconcileOne(sides, key, { scope: scopeOf(hint), allowDelete: true });
    if (result.outcome === 'failed') throw result.error;
  }
}

/**
 * What chance meets rarely: a write that was lost, then one that another key, or other members,
 * depend on.
 */
const MEETINGS: readonly [Type, lost: string, thenSent: string][] = [
  ['z', 'ZADD z1 5 a', 'ZREMRANGEBYRANK z1 0 0'],
  ['z', 'ZADD z1 5 a', 'ZPOPMIN z1'],
  ['z', 'ZADD z1 5 a', 'ZRANGESTORE z3 z1 0 0'],
  ['l', 'LPUSH l1 c', 'LMOVE l1 l3 LEFT LEFT'],
  ['l', 'LPUSH l1 c', 'BRPOPLPUSH l1 l3 0.01'],
  ['l', 'LPUSH l1 c', 'BLPOP l1 0.01'],
  ['l', 'LPUSH l1 c', 'LTRIM l1 1 -1'],
  ['l', 'LPUSH l1 c', 'SORT l1 ALPHA STORE l3'],
  ['set', 'SADD set2 a', 'SINTERSTORE set3 set1 set2'],
  ['set', 'SADD set1 d', 'SMOVE set1 set3 d'],
  ['s', 'SET s1 7', 'RENAME s1 s3'],
  ['s', 'SET s1 7', 'COPY s1 s3'],
  ['s', 'SET s1 7', 'SETNX s3 1'],
  ['h', 'EXPIRE h1 -1', 'HSET h1 d 1'],
];
const examples = MEETINGS.map(([type, lost, sent]): [{ type: Type; steps: { command: string[]; lost: number }[] }] => [
  {
    type,
    steps: [
      { command: lost.split(' '), lost: 0 },
      { command: sent.split(' '), lost: 1 },
    ],
  },
]);

const settings = { numRuns: 100 };

describe('a DualWriter', () => {
  it('leaves equal sides equal, with no record, by whatever can be mirrored', async () => {
    await fc.assert(
      fc.asyncProperty(
        stepsFrom(MIRRORED, (command) => command),
        async ({ type, steps: commands }) => {
          await begin(type);
          await Promise.allSettled(commands.map(([command = '', ...args]) => writer.call(command, ...args)));
          await settled(writer);
          expect(unexpected(bed.sink.records).map(({ command, error }) => [command, error])).toEqual([]);
          expect(await different()).toEqual([]);
        },
      ),
      settings,
    );
  });

  it('leaves a record of every key that differs, and with these the sides become equal', async () => {
    const step = (command: fc.Arbitrary<string[]>) => fc.record({ command, lost: fc.integer({ min: 0, max: 3 }) });
    const all = [...MIRRORED, ...RECORDED];
    await fc.assert(
      fc.asyncProperty(stepsFrom(all, step), async ({ type, steps }) => {
        await begin(type);
        const records: FailedWrite[] = [];
        for (const {
          command: [command = '', ...args],
          lost,
        } of steps) {
          if (lost === 0) records.push(...(await lose([command, ...args])));
          else await writer.call(command, ...args).catch(() => {});
        }
        await settled(writer);
        records.push(...bed.sink.records);
        const told = new Set(records.map(({ key }) => key));
        expect((await different()).filter((difference) => !told.has(difference.split(':')[0]!))).toEqual([]);
        await reconcile(records);
        expect(await different()).toEqual([]);
      }),
      { ...settings, examples },
    );
  });
});
