/** Several writers of one service: whatever the order in which their writes reach the target. */
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import type { DualWriter, MarksChange } from '../../src/dual-write/dual-writer.js';
import { Marks } from '../../src/dual-write/target/marks.js';
import { markOf, slotOf } from '../../src/redis/index.js';
import { eventually } from '../support/eventually.js';
import { type Bed, settled, startBed } from './bed.js';
import { differing, repair, swept } from './repair.js';

let bed: Bed;
beforeAll(async () => {
  bed = await startBed();
});
afterEach(() => bed.reset());
afterAll(() => bed.stop());

/** One whose way to the target is slow, and one that comes there at once. */
async function slowAndFast() {
  const slow = await bed.writer({ timeoutMs: 20_000 });
  const fast = await bed.writer({ target: bed.target });
  return { slow, fast };
}

/** Both write, one after the other, and the second is the first at the target. */
async function cross({ slow, fast }: Writers, first: Use, second: Use): Promise<void> {
  bed.link.swallow();
  await first(slow);
  await second(fast);
  await settled(fast);
  bed.link.release();
}
type Writers = Awaited<ReturnType<typeof slowAndFast>>;
type Use = (writer: DualWriter) => Promise<unknown>;

function failures(): unknown[] {
  return bed.sink.records.map(({ key, command, outcome, error }) => [key, command, outcome, error?.code]);
}

describe('two writers, one after the other', () => {
  it('of which the second comes to the target first: a record of each key, and by the records all is equal', async () => {
    const { slow, fast } = await slowAndFast();
    bed.link.slow(50);
    for (let key = 0; key < 200; key++) {
      await slow.set(`k${key}`, 'old');
      await fast.set(`k${key}`, 'new');
    }
    await Promise.all([settled(slow), settled(fast)]);
    // Of most; where the machine stood still the second may come second.
    expect((await differing(bed)).length).toBeGreaterThan(0);
    const all = Array.from({ length: 200 }, (_, key) => [`k${key}`, 'SET', 'unknown', 'CROSSED']);
    expect(failures().sort()).toEqual(all.sort());
    await repair(bed, bed.sink.records);
    expect(await differing(bed)).toEqual([]);
  });

  it('of which the first was answered by the target before the second began: no record', async () => {
    const first = await bed.writer();
    const second = await bed.writer({ target: bed.target });
    const keys = Array.from({ length: 50 }, (_, key) => `k${key}`);
    for (const key of keys) await first.set(key, 'old');
    await settled(first);
    // Longer than a write of the second takes, also on a busy machine.
    await sleep(3_000);
    for (const key of keys) await second.set(key, 'new');
    await settled(second);
    expect(failures()).toEqual([]);
    expect(await differing(bed)).toEqual([]);
  });
});

describe('keys that two writers change all the time', () => {
  it.each<[string, number, (writer: DualWriter, value: string) => Promise<unknown>]>([
    ['alone', 1, (writer, value) => writer.set('hot', value)],
    ['together', 2, (writer, value) => writer.mset('hot', value, 'warm', value)],
    ['as counters', 1, (writer) => writer.incr('hot')],
    ['as lists', 1, (writer, value) => writer.rpush('hot', value)],
  ])('%s get a record at once, and then one a second for all that crossed in it', async (_, keys, write) => {
    const { slow, fast } = await slowAndFast();
    bed.link.slow(20);
    const begunAt = performance.now();
    for (let turn = 0; turn < 500; turn++) {
      await Promise.all([write(slow, `slow ${turn}`), write(fast, `fast ${turn}`)]);
    }
    await Promise.all([slow, fast].map((writer) => writer.close()));
    const seconds = (performance.now() - begunAt) / 1000;
    expect(bed.sink.records.length).toBeGreaterThan(keys);
    // Of each writer: one at once, one a second, and in steps what it held back at its close.
    expect(bed.sink.records.length).toBeLessThanOrEqual(keys * 2 * (1 + seconds + 3));
    await repair(bed, bed.sink.records);
    expect(await differing(bed)).toEqual([]);
  });

  it('get the record of what crossed last without another write of theirs', async () => {
    const { slow, fast } = await slowAndFast();
    bed.link.slow(50);
    for (const value of ['1', '2']) {
      await slow.set('k', value);
      await fast.set('k', `${value} of the other`);
      await settled(fast);
    }
    await bed.sink.have(2);
    await repair(bed, bed.sink.records);
    expect(await differing(bed)).toEqual([]);
  });
});

it('any key of so many that some are forgotten may have crossed', () => {
  const marks = new Marks('one', 'shard', () => {});
  const now = performance.now();
  for (let key = 0; key < 100_000; key++) marks.writtenByOther(`k${key}`, 0, now);
  expect(marks.writtenByOther('k0', -1, now)).toBe(now);
  expect(marks.writtenByOther('another', -1, now)).toBe(now);
});

/** The fields are there, so that HSET answers the same whoever comes first. */
async function haveFields(...fields: string[]): Promise<void> {
  for (const { client } of [bed.source, bed.target]) await client.hset('h', ...fields.flatMap((field) => [field, '0']));
}

it.each<[string, Use]>([
  ['', (writer) => writer.incr('k')],
  [' in a transaction', (writer) => writer.multi().incr('k').incr('n').exec()],
])(
  'a key that crossed is none that missed a write: later writes of it%s are not recorded for that',
  async (_, write) => {
    const writers = await slowAndFast();
    await cross(
      writers,
      (slow) => slow.set('k', '1'),
      (fast) => fast.set('k', '2'),
    );
    await bed.sink.have(1);
    await repair(bed, bed.sink.records);
    // The repair is known to be over: longer than a write takes, also on a busy machine.
    await sleep(3_000);
    for (let turn = 0; turn < 5; turn++) await write(writers.slow);
    await settled(writers.slow);
    expect(failures()).toEqual([['k', 'SET', 'unknown', 'CROSSED']]);
    expect(await differing(bed)).toEqual([]);
  },
);

it('a write that lands on top of the repair of a crossing, which brought it already, is recorded', async () => {
  const writers = await slowAndFast();
  const full = Buffer.from([250]);
  await cross(
    writers,
    (slow) => slow.set('k', '1'),
    (fast) => fast.set('k', full),
  );
  await bed.sink.have(1);
  bed.link.swallow();
  // Done twice it answers the same, and so does not show.
  await writers.slow.call('BITFIELD', 'k', 'OVERFLOW', 'SAT', 'INCRBY', 'u8', '0', '10');
  await repair(bed, bed.sink.records);
  bed.link.release();
  await settled(writers.slow);
  expect(failures().at(-1)).toEqual(['k', 'BITFIELD', 'unknown', 'CROSSED']);
});

it('a write that lands on top of a repair, which may have brought something newer, is recorded', async () => {
  const writer = await bed.writer({ timeoutMs: 20_000 });
  bed.link.swallow();
  await writer.set('k', 'old');
  // By another instance, which has no record of its own of it any more.
  await bed.source.client.set('k', 'new');
  await repair(bed, swept(['k']));
  expect(await bed.target.client.get('k')).toBe('new');
  bed.link.release();
  await settled(writer);
  expect(await bed.target.client.get('k')).toBe('old');
  expect(failures()).toEqual([['k', 'SET', 'unknown', 'CROSSED']]);
});

it('a key that crossed is recorded also where the time to live of another in the transaction came late', async () => {
  const writers = await slowAndFast();
  await haveFields('f');
  await cross(
    writers,
    (slow) => slow.multi().set('k', 'v', 'PX', 60_000).hset('h', 'f', 'old').exec(),
    async (fast) => {
      await fast.hset('h', 'f', 'new');
      await sleep(150);
    },
  );
  await settled(writers.slow);
  expect(bed.sink.records.map(({ key }) => key)).toEqual(['k', 'h']);
  await repair(bed, bed.sink.records);
  expect(await differing(bed)).toEqual([]);
});

describe('a member that two writers write', () => {
  it('is recorded by name, so that a large key costs no more than that', async () => {
    const writers = await slowAndFast();
    await haveFields('f');
    await cross(
      writers,
      (slow) => slow.hset('h', 'f', 'old'),
      (fast) => fast.hset('h', 'f', 'new'),
    );
    await settled(writers.slow);
    expect(bed.sink.records).toMatchObject([{ key: 'h', command: 'HSET', members: ['f'] }]);
  });

  it('is recorded too when a later write of the same writer has replaced the mark of the other', async () => {
    const { slow, fast } = await slowAndFast();
    await haveFields('first', 'second');
    bed.link.slow(300);
    await slow.hset('h', 'first', 'old');
    // Far enough from the first to leave for the target by itself.
    await sleep(20);
    await slow.hset('h', 'second', 'old');
    await fast.hset('h', 'first', 'new', 'second', 'new');
    await settled(slow);
    await slow.close();
    // On a busy machine the write that is fast may come between the two: then it has a record, too.
    const members = bed.sink.records.flatMap(({ members }) => members);
    expect(members).toEqual(expect.arrayContaining(['first', 'second']));
  });

  it('is recorded by name with the others of the key that cross in the same second', async () => {
    const writers = await slowAndFast();
    const fields = ['first', 'second', 'third'];
    await haveFields(...fields);
    const writeAll = (value: string) => async (writer: DualWriter) => {
      for (const field of fields) await writer.hset('h', field, value);
    };
    await cross(writers, writeAll('old'), writeAll('new'));
    await settled(writers.slow);
    const [atOnce, ...later] = bed.sink.records;
    expect(atOnce).toMatchObject({ key: 'h', command: 'HSET', members: ['first'] });
    expect(later).toMatchObject([{ key: 'h', command: 'HSET', members: ['second', 'third'] }]);
    await repair(bed, bed.sink.records);
    expect(await differing(bed)).toEqual([]);
  });

  it('needs no record of the keys of a write that only one of them wrote', async () => {
    const writers = await slowAndFast();
    await cross(
      writers,
      (slow) => slow.mset('a', 'old', 'b', 'old', 'c', 'old'),
      (fast) => fast.set('b', 'new'),
    );
    await settled(writers.slow);
    expect(bed.sink.records.map(({ key }) => key)).toEqual(['b']);
  });
});

describe('a target that takes no marks', () => {
  it.each([
    ['for want of rights', ['SETUSER', 'default', '-eval']],
    ['because their names are not allowed', ['SETUSER', 'default', 'resetkeys', '~x*']],
  ])('%s: says so once, counts, goes on, and says when it does', async (_, acl) => {
    await bed.target.client.acl(...(acl as ['SETUSER', string]));
    try {
      const writer = await bed.writer({ target: bed.target });
      const changes: MarksChange[] = [];
      writer.on('marks', (change) => changes.push(change));
      for (let write = 0; write < 5; write++) {
        await writer.set('x', `${write}`);
        await settled(writer);
      }
      expect(await bed.target.client.get('x')).toBe('4');
      const shard = `127.0.0.1:${bed.target.port}`;
      const reason = 'the target answered with the error NOPERM';
      expect(changes).toEqual([{ shard, state: 'suspended', reason }]);
      expect(writer.stats().shards).toMatchObject([{ unmarked: 5 }]);
      await bed.target.client.acl('SETUSER', 'default', 'allkeys', 'allcommands');
      await eventually(async () => {
        await writer.set('x', 'again');
        expect(changes).toHaveLength(2);
      });
      expect(changes[1]).toEqual({ shard, state: 'active' });
      expect(bed.sink.records).toEqual([]);
    } finally {
      await bed.target.client.acl('SETUSER', 'default', 'allkeys', 'allcommands');
    }
  });

  it('of another type under their names: replaces it', async () => {
    const writer = await bed.writer({ target: bed.target });
    await bed.target.client.rpush('keymend:writer:{k}', 'x');
    await writer.set('k', 'v');
    await settled(writer);
    expect(await bed.target.client.type('keymend:writer:{k}')).toBe('string');
    expect(await bed.target.client.pttl('keymend:writer:{k}')).toBeGreaterThan(0);
  });
});

it('a mark lies in the slot of its key, whatever the braces', () => {
  const keys = ['', 'k', '{', '}', '{}', 'a}b', '{a}b', '{}{a}', 'x{a{b}c}', '{a', '}{a}', '}}{{', '\u{1f600}{é}'];
  const slots = (names: readonly Buffer[]) => names.map((name) => slotOf(name));
  const names = keys.map((key) => Buffer.from(key));
  expect(slots(names.map(markOf))).toEqual(slots(names));
  expect(new Set(names.map((key) => markOf(key).toString())).size).toBe(keys.length);
});
