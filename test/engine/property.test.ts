/**
 * Random commands on the source, partly mirrored, random damage on the target; then every key is reconciled in random order
 * and an independent comparison must find no difference. The target encodes everything differently from the source, so that
 * equal DUMPs are the exception. fast-check prints seed and path of a failure: give them to `fc.assert` to see it again.
 */
import * as fc from 'fast-check';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { reconcileKeys } from '../../src/engine/index.js';
import { compareRedis } from '../support/compare.js';
import type { RedisServer } from '../support/redis.js';
import { DEFAULT_OPTIONS, resetWrites, startLink, type TestLink, writesOn } from './link.js';

type Argument = string | Buffer;
type Command = readonly Argument[];

const KEYS = [
  Buffer.from('a'),
  Buffer.from('b'),
  Buffer.from('c'),
  Buffer.alloc(0),
  Buffer.from([0xff, 0x00, 0x0d, 0x0a]),
];
const FUTURE = Date.now() + 24 * 3_600_000;

const key = fc.constantFrom<Buffer>(...KEYS);
/** Few distinct small ones, so that commands meet; sometimes bytes, long ones or numbers, which Redis encodes on their own. */
const text: fc.Arbitrary<Argument> = fc.oneof(
  { weight: 6, arbitrary: fc.constantFrom<Argument>('', 'x', 'y', 'xy', '1', '-1', '1.5', '9223372036854775807') },
  { weight: 2, arbitrary: fc.uint8Array({ maxLength: 12 }).map((bytes) => Buffer.from(bytes)) },
  { weight: 1, arbitrary: fc.integer({ min: 60, max: 300 }).map((length) => 'l'.repeat(length)) },
);
const texts = fc.array(text, { minLength: 1, maxLength: 4 });
const pairs = fc.array(fc.tuple(text, text), { minLength: 1, maxLength: 4 }).map((list) => list.flat());
const score = fc.oneof(
  fc.double({ noNaN: true }).map((value) => (Number.isFinite(value) ? `${value}` : value > 0 ? 'inf' : '-inf')),
  fc.constantFrom('0', '-0', '1', '0.1', '1e-320'),
);
const entryId = fc
  .tuple(fc.integer({ min: 1, max: 4 }), fc.integer({ min: 0, max: 4 }))
  .map(([ms, seq]) => `${ms}-${seq}`);
const group = fc.constantFrom('g', 'h');
const consumer = fc.constantFrom('ann', 'bob');
const many = fc.integer({ min: 100, max: 400 }).map((count) => Array.from({ length: count }, (_, index) => `${index}`));

/** Any command below on any key: most meet another type now and then, and are refused. */
const command: fc.Arbitrary<Command> = fc.oneof(
  ...([
    fc.tuple(fc.constant('SET'), key, text),
    fc.tuple(fc.constant('APPEND'), key, text),
    fc.tuple(fc.constant('SETBIT'), key, fc.nat(100).map(String), fc.constantFrom('0', '1')),
    fc.tuple(fc.constant('PFADD'), key, text),
    fc.tuple(fc.constant('INCR'), key),
    fc.tuple(fc.constantFrom('DEL', 'UNLINK', 'PERSIST'), key),
    fc.tuple(fc.constant('PEXPIREAT'), key, fc.constantFrom(`${FUTURE}`, `${FUTURE + 50}`, `${FUTURE + 5_000}`, '1')),
    fc.tuple(fc.constant('HDEL'), key, text),
    fc.tuple(fc.constant('HINCRBYFLOAT'), key, text, fc.constantFrom('1', '0.1')),
    fc.tuple(fc.constantFrom('LPOP', 'RPOP', 'SPOP', 'ZPOPMIN'), key),
    fc.tuple(fc.constant('LTRIM'), key, fc.constantFrom('0', '1', '-3'), fc.constantFrom('-1', '3')),
    fc.tuple(fc.constant('LREM'), key, fc.constant('1'), text),
    fc.tuple(fc.constant('SREM'), key, text),
    fc.tuple(fc.constant('ZADD'), key, score, text),
    fc.tuple(fc.constant('ZREM'), key, text),
    fc.tuple(fc.constant('GEOADD'), key, fc.constant('13.36'), fc.constant('38.11'), text),
    fc.tuple(fc.constant('XDEL'), key, entryId),
    fc.tuple(fc.constant('XTRIM'), key, fc.constant('MAXLEN'), fc.constantFrom('0', '2')),
    fc.tuple(
      fc.constant('XGROUP'),
      fc.constant('CREATE'),
      key,
      group,
      fc.constantFrom('0', '$'),
      fc.constant('MKSTREAM'),
    ),
    fc.tuple(fc.constant('XGROUP'), fc.constant('CREATECONSUMER'), key, group, consumer),
    fc.tuple(fc.constant('XGROUP'), fc.constant('DESTROY'), key, group),
    fc.tuple(fc.constant('XACK'), key, group, entryId),
    fc.tuple(fc.constant('XCLAIM'), key, group, consumer, fc.constant('0'), entryId),
    fc
      .tuple(key, group, consumer)
      .map(([stream, name, reader]) => ['XREADGROUP', 'GROUP', name, reader, 'COUNT', '2', 'STREAMS', stream, '>']),
    fc.tuple(key, pairs).map(([hash, fields]) => ['HSET', hash, ...fields]),
    fc.tuple(fc.constantFrom('RPUSH', 'LPUSH', 'SADD'), key, texts).map(([name, at, items]) => [name, at, ...items]),
    fc.tuple(key, entryId, pairs).map(([stream, id, fields]) => ['XADD', stream, id, ...fields]),
    fc.tuple(fc.constantFrom('RPUSH', 'SADD', 'PFADD'), key, many).map(([name, at, items]) => [name, at, ...items]),
    fc.tuple(key, many).map(([hash, items]) => ['HSET', hash, ...items.flatMap((item) => [item, item])]),
    fc.tuple(key, many).map(([zset, items]) => ['ZADD', zset, ...items.flatMap((item) => [item, `m${item}`])]),
  ] as fc.Arbitrary<Command>[]),
);

const history = fc.record({
  /** Each command of the source, and whether the mirror lost it. */
  source: fc.array(fc.tuple(command, fc.boolean()), { minLength: 1, maxLength: 40 }),
  damage: fc.array(command, { maxLength: 10 }),
  order: fc.shuffledSubarray(KEYS, { minLength: KEYS.length }),
  oneByOne: fc.boolean(),
});

let link: TestLink;
beforeAll(async () => {
  link = await startLink(
    [],
    [
      ...['--hash-max-listpack-entries', '1', '--zset-max-listpack-entries', '1', '--set-max-intset-entries', '1'],
      ...['--list-max-listpack-size', '2', '--stream-node-max-entries', '2', '--rdbcompression', 'no'],
    ],
  );
});
afterAll(() => link?.stop());

async function execute(server: RedisServer, commands: readonly Command[]): Promise<void> {
  const pipeline = server.client.pipeline();
  for (const [name, ...args] of commands) pipeline.callBuffer(String(name), [...args]);
  await pipeline.exec(); // Refused commands (another type, no such group) are part of the game.
}

async function reconcileInOrder(order: readonly Buffer[], oneByOne: boolean) {
  if (!oneByOne)
    return reconcileKeys(
      link.sides,
      order.map((each) => ({ key: each })),
      DEFAULT_OPTIONS,
    );
  const results = [];
  for (const each of order) results.push(...(await reconcileKeys(link.sides, [{ key: each }], DEFAULT_OPTIONS)));
  return results;
}

test('after any history of writes, losses and damage, reconciling every key makes both sides equal', async () => {
  await fc.assert(
    fc.asyncProperty(history, async ({ source, damage, order, oneByOne }) => {
      await link.clear();
      await execute(
        link.source,
        source.map(([each]) => each),
      );
      await execute(link.target, [...source.filter(([, lost]) => !lost).map(([each]) => each), ...damage]);

      const results = await reconcileInOrder(order, oneByOne);
      expect(results.filter(({ outcome }) => outcome === 'failed')).toEqual([]);
      expect(await compareRedis(link.source.client, link.target.client)).toEqual([]);

      await resetWrites(link.target);
      const again = await reconcileInOrder(order, oneByOne);
      expect(again.filter(({ outcome }) => outcome !== 'equal')).toEqual([]);
      expect(await writesOn(link.target)).toEqual({});
    }),
    { numRuns: 500 },
  );
});
