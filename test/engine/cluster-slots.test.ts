/**
 * Slots that move while the engine is at work: what has moved is never taken for deleted, and
 * nothing is written half.
 */
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import type { KeyRequest } from '../../src/engine/index.js';
import type { KeyWatch, ObservedState, RecipeReading, RedisPort } from '../../src/redis/index.js';
import { slotOf } from '../../src/redis/slots.js';
import { provideRedis62 } from '../../src/stack/programs/index.js';
import { describeWith } from '../support/services.js';
import { intercept, once } from './link.js';
import { type ClusterSide, reconcileAnySize, type Side, startClusterSide, startSide } from './topology.js';

const LARGE_VALUES = { elements: 60, bytes: 1_024 };
const MEMBERS = { kind: 'members' as const, members: [Buffer.from('f')] };
const MANY = Array.from({ length: 100 }, (_, index) => `${index}`);

type Value = readonly [command: string, ...args: string[]];

const VALUES: readonly [what: string, value: Value, scope?: KeyRequest['scope']][] = [
  ['a small string', ['SET', 'v']],
  ['an expiry alone', ['SET', 'v'], { kind: 'members', members: [] }],
  ['named fields of a hash', ['HSET', 'f', 'v'], MEMBERS],
  ['a large string', ['SET', 'v'.repeat(3_000)]],
  ['a large list', ['RPUSH', ...MANY]],
  ['a large hash', ['HSET', ...MANY.flatMap((field) => [field, field])]],
];

function suite(binary?: string) {
  const version = binary === undefined ? {} : { binary };

  describe('a key that has moved', () => {
    let source: Side;
    let target: Side;
    let moving: ClusterSide;
    /** Of each test its own, and so its slot. */
    let key: string;
    let tests = 0;
    beforeEach(() => {
      key = `k${tests++}`;
    });

    const sides = () => ({ source: source.port, target: target.port });

    describe('on the source', () => {
      afterAll(async () => {
        await Promise.all([source?.stop(), target?.stop()]);
      });
      beforeAll(async () => {
        moving = await startClusterSide('source', 2, { largeValues: LARGE_VALUES, ...version });
        source = moving;
        target = await startSide('target', 'one server', { largeValues: LARGE_VALUES, ...version });
      });

      test.each(VALUES)('is not deleted on the target: %s', async (_what, value, scope) => {
        await Promise.all([source, target].map((side) => put(side, key, value)));
        await target.client.pexpireat(key, Date.now() + 3_600_000);
        await moving.moveHalfWay(key);
        const request = { key: Buffer.from(key), allowDelete: true, ...(scope && { scope }) };
        for (let attempt = 0; attempt < 3; attempt++) {
          expect(await reconcileAnySize(sides(), [request])).toMatchObject([
            { outcome: 'failed', error: { type: 'SourceUnavailable' } },
          ]);
        }
        expect(await target.client.exists(key)).toBe(1);
        // As soon as the slot has arrived, the next attempts find the key.
        await moving.cluster.moveSlot(slotOf(Buffer.from(key)), moving.otherNode(key));
        await expect
          .poll(() => reconcileAnySize(sides(), [request]), { interval: 100 })
          .toMatchObject([{ outcome: 'repaired' }]);
      });

      test('is not read by any call', async () => {
        await put(source, key, ['HSET', 'f', 'v']);
        await moving.moveHalfWay(key);
        const bytes = Buffer.from(key);
        const { port } = source;
        const request = { key: bytes, known: { type: 'hash', digest: '' }, members: MEMBERS.members };
        const members = { key: bytes, type: 'hash', members: MEMBERS.members };
        const answers = await Promise.all([
          port.inspect([bytes]),
          port.read([request]),
          port.readRecipes([request]),
          port.inspectMembers([request]),
          port.readMembers([request]),
          port.scanMembers({ key: bytes, type: 'hash', cursor: '0', count: 10 }),
          port.digestMembers(members),
          port.differingMembers(members, Buffer.from('f'.repeat(40))),
          port.watch(bytes),
        ]);
        for (const answer of answers.flat())
          expect(answer).toMatchObject({ code: expect.stringMatching(/^MOVED|ASK$/) });
      });

      test('is missed by a watch that began before', async () => {
        await put(source, key, ['RPUSH', ...MANY]);
        const watch = (await source.port.watch(Buffer.from(key))) as KeyWatch;
        await moving.moveHalfWay(key);
        expect(await watch.digestList({ start: 0, count: 10 })).toMatchObject({ code: 'MOVED' });
        expect(await watch.readList({ start: 0, count: 10 })).toMatchObject({ code: 'ASK' });
        expect(await watch.unchanged({ atMaster: true })).not.toBe(true);
        watch.close();
      });

      test('is missed by a watch that began when it was not there', async () => {
        const watch = (await source.port.watch(Buffer.from(key))) as KeyWatch;
        await moving.cluster.moveSlot(slotOf(Buffer.from(key)), moving.otherNode(key));
        await source.client.set(key, 'v');
        expect(await watch.unchanged({ atMaster: true })).toMatchObject({ code: 'MOVED' });
        watch.close();
      });

      test('during the look at it is not deleted either', async () => {
        const { port } = source;
        await target.client.set(key, 'v');
        await source.client.set(key, 'v');
        const sides = {
          source: intercept(port, { 'before read': once(() => moving.moveHalfWay(key)) }),
          target: target.port,
        };
        const results = await reconcileAnySize(sides, [{ key: Buffer.from(key), allowDelete: true }]);
        expect(results).toMatchObject([{ outcome: 'failed', error: { type: 'SourceUnavailable' } }]);
        expect(await target.client.get(key)).toBe('v');
      });

      test('says what it is and what comes next, and the others of the call are repaired', async () => {
        const others = Array.from({ length: 20 }, (_, index) => `other:${index}`);
        for (const each of [key, ...others]) await source.client.set(each, 'v');
        await moving.moveHalfWay(key);
        const [first, ...rest] = await reconcileAnySize(
          sides(),
          [key, ...others].map((each) => ({ key: Buffer.from(each) })),
        );
        expect(first).toMatchObject({ outcome: 'failed', error: { stage: 'read' } });
        const message = 'error' in first! ? first.error.message : '';
        expect(message).toMatch(/^source \(127\.0\.0\.1:\d+\) does not have the slot of the key, or is giving it to /);
        expect(rest.map(({ outcome }) => outcome)).toEqual(others.map(() => 'repaired'));
      });
    });

    describe('on the target', () => {
      afterAll(async () => {
        await Promise.all([source?.stop(), target?.stop()]);
      });
      beforeAll(async () => {
        moving = await startClusterSide('target', 2, { largeValues: LARGE_VALUES, ...version });
        target = moving;
        source = await startSide('source', 'one server', { largeValues: LARGE_VALUES, ...version });
      });

      test.each(VALUES)('is not made anew where it was: %s', async (_what, value, scope) => {
        await Promise.all([source, target].map((side) => put(side, key, value)));
        await target.client.pexpireat(key, Date.now() + 3_600_000);
        const from = moving.nodeOf(key);
        await moving.moveHalfWay(key);
        const request = { key: Buffer.from(key), ...(scope && { scope }) };
        expect(await reconcileAnySize(sides(), [request])).toMatchObject([
          { outcome: 'failed', error: { type: 'TargetUnavailable' } },
        ]);
        expect(await from.client.cluster('COUNTKEYSINSLOT', slotOf(Buffer.from(key)))).toBe(0);
        await moving.cluster.moveSlot(slotOf(Buffer.from(key)), moving.otherNode(key));
        await expect
          .poll(() => reconcileAnySize(sides(), [request]), { interval: 100 })
          .toMatchObject([{ outcome: 'repaired' }]);
      });

      test.each(VALUES)(
        'between comparison and write is written where it is, once: %s',
        async (_what, value, scope) => {
          await put(source, key, value);
          const move = once(async () => {
            const slot = slotOf(Buffer.from(key));
            await moving.cluster.moveSlot(slot, moving.otherNode(key));
          });
          const port = beforeEachWrite(target.port, move);
          const request = { key: Buffer.from(key), ...(scope && { scope }) };
          const [first] = await reconcileAnySize({ source: source.port, target: port }, [request]);
          expect(first).toMatchObject({ outcome: 'failed', error: { type: 'TargetUnavailable' } });
          await expect
            .poll(() => reconcileAnySize({ source: source.port, target: port }, [request]), { interval: 100 })
            .toMatchObject([{ outcome: 'repaired' }]);
          const sizes = await Promise.all(target.nodes.map((node) => node.client.exists(key).catch(() => 0)));
          expect(sizes.reduce((sum, size) => sum + size)).toBe(1);
        },
      );

      test('since it was observed counts as changed: the clock that bounds the write is of the other server', async () => {
        const { port } = target;
        await target.client.set(key, 'v');
        const [observed] = (await port.inspect([Buffer.from(key)])) as [ObservedState];
        await moving.cluster.moveSlot(slotOf(Buffer.from(key)), moving.otherNode(key));
        await expect.poll(() => port.inspect([Buffer.from(key)])).toMatchObject([{ type: 'string' }]);
        const repair = { key: Buffer.from(key), observed, change: { action: 'delete' as const } };
        expect(await port.repair([repair])).toEqual(['changed']);
        expect(await target.client.get(key)).toBe('v');
      });

      test('is replaced as a whole or not at all when its slot begins to move before the replacement', async () => {
        await put(source, key, ['RPUSH', ...MANY]);
        await target.client.rpush(key, 'old');
        const start = once(() => moving.cluster.startMovingSlot(slotOf(Buffer.from(key)), moving.otherNode(key)));
        const port = beforeEachWrite(target.port, start);
        const results = await reconcileAnySize({ source: source.port, target: port }, [{ key: Buffer.from(key) }]);
        expect(results).toMatchObject([{ outcome: 'failed', error: { type: 'TargetUnavailable' } }]);
        expect(await target.client.lrange(key, 0, -1)).toEqual(['old']);
      });

      test('is rebuilt as a whole or not at all while its slot moves', async () => {
        await put(source, key, ['HSET', 'f', 'new']);
        await put(target, key, ['HSET', 'f', 'old']);
        const bytes = Buffer.from(key);
        const [observed] = (await target.port.inspect([bytes])) as [ObservedState];
        const [reading] = (await source.port.readRecipes([{ key: bytes, known: observed }])) as [RecipeReading];
        await moving.cluster.startMovingSlot(slotOf(bytes), moving.otherNode(key));
        const recipe = reading.recipe!;
        const change = { action: 'rebuild' as const, recipe, content: null, expiry: -1, expiryTolerated: true };
        expect(await target.port.rebuild([{ key: bytes, observed, change }])).toMatchObject([{ code: 'MOVED' }]);
        expect(await target.client.hgetall(key)).toEqual({ f: 'old' });
      });

      test('is deleted while its slot moves, and that is what is said', async () => {
        await target.client.set(key, 'v');
        await moving.cluster.startMovingSlot(slotOf(Buffer.from(key)), moving.otherNode(key));
        expect(await reconcileAnySize(sides(), [{ key: Buffer.from(key) }])).toMatchObject([
          { outcome: 'repaired', action: 'deleted' },
        ]);
      });

      test('loses its last named member while its slot moves, and that is what is said', async () => {
        await target.client.hset(key, 'f', 'v');
        await moving.cluster.startMovingSlot(slotOf(Buffer.from(key)), moving.otherNode(key));
        const [state] = await target.port.inspectMembers([{ key: Buffer.from(key), members: MEMBERS.members }]);
        const repair = { key: Buffer.from(key), members: MEMBERS.members, observed: state as never };
        const wanted = { ...repair, type: 'hash', cells: [Buffer.alloc(0)], expiry: null };
        expect(await target.port.repairMembers([wanted])).toEqual(['gone']);
      });
    });
  });
}

async function put({ client }: Side, key: string, [command, ...args]: Value): Promise<void> {
  await client.call(command, key, ...args);
}

/** The hook runs before each call that writes, also of a watch. */
function beforeEachWrite(port: RedisPort, hook: (call: number) => unknown): RedisPort {
  let calls = 0;
  const hooked = (watch: KeyWatch): KeyWatch =>
    new Proxy(watch, {
      get(_target, name: keyof KeyWatch) {
        const value = watch[name];
        if (typeof value !== 'function') return value;
        if (name !== 'write') return value.bind(watch);
        return async (...args: never[]) => {
          await hook(calls++);
          return (value as (...args: never[]) => unknown).apply(watch, args);
        };
      },
    });
  const WRITES: readonly string[] = ['repair', 'rebuild', 'repairMembers'] satisfies (keyof RedisPort)[];
  return new Proxy(port, {
    get(_target, name: keyof RedisPort, receiver: RedisPort) {
      const value = port[name];
      if (typeof value !== 'function') return value;
      return async (...args: never[]) => {
        if (WRITES.includes(name)) await hook(calls++);
        const answer = await (value as (...args: never[]) => unknown).apply(port, args);
        if (name === 'watch' && 'write' in (answer as KeyWatch)) return hooked(answer as KeyWatch);
        if (name === 'admit' && 'port' in (answer as object)) return { ...(answer as object), port: receiver };
        return answer;
      };
    },
  });
}

describe('Redis 7.0', () => suite());
await describeWith('Redis 6.2', provideRedis62, suite);
