import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import type { DualWriter } from '../../src/dual-write/dual-writer.js';
import type { FaultProxy } from '../../src/stack/proxy.js';
import { eventually } from '../support/eventually.js';
import { startRelay } from '../support/relay.js';
import { type Bed, settled, startBed } from './bed.js';
import { differing, expectEqualAfterRepair, repair } from './repair.js';

let bed: Bed;
beforeAll(async () => {
  bed = await startBed();
});
afterEach(() => bed.reset());
afterAll(() => bed.stop());

/** One write that the target misses; afterwards it takes writes again. */
async function miss(writer: DualWriter, write: () => Promise<unknown>): Promise<void> {
  await settled(writer);
  await bed.target.client.replicaof('127.0.0.1', 1);
  await write();
  await settled(writer);
  await bed.target.client.replicaof('NO', 'ONE');
  bed.sink.records.length = 0;
}

/** On a busy machine a write may take longer than `timeoutMs`. */
async function mirrored(writer: DualWriter, value: string): Promise<void> {
  while (writer.stats().mirrored === 0) {
    await writer.set('k', value);
    await settled(writer);
  }
  bed.sink.records.length = 0;
}

function failures(): unknown[][] {
  return bed.sink.records.map(({ key, command, outcome, error }) => [key, command, outcome, error?.code]);
}

describe('a write of a key that lately missed one', () => {
  it('is mirrored nevertheless; what is idempotent needs no further record', async () => {
    const writer = await bed.writer();
    await miss(writer, () => writer.sadd('s', 'a'));
    await writer.sadd('s', 'b');
    await settled(writer);
    expect(await bed.target.client.smembers('s')).toEqual(['b']);
    expect(failures()).toEqual([]);
  });

  it('is recorded when the target’s reply shows that it lacks something', async () => {
    const writer = await bed.writer();
    await miss(writer, () => writer.incr('n'));
    expect(await writer.incr('n')).toBe(2);
    await settled(writer);
    // More than this write may be missing: the record is for the whole key.
    expect(failures()).toEqual([['n', undefined, 'unknown', 'REPLY_DIFFERS']]);
    // A repair between the source's reply and the target's is the same: the write landed on top of
    // its own effect.
    await bed.target.client.set('n', 3);
    await writer.incr('n');
    await settled(writer);
    expect(await bed.target.client.get('n')).toBe('4');
    expect(failures().at(-1)).toEqual(['n', undefined, 'unknown', 'REPLY_DIFFERS']);
  });

  it('is recorded when it could land on top of a repair that brought it already, without a sign of that', async () => {
    const writer = await bed.writer();
    await writer.rpush('l', 'a', 'b', 'c', 'd');
    await miss(writer, () => writer.lset('l', 0, 'A'));
    await writer.ltrim('l', -3, -1);
    await settled(writer);
    expect(failures()).toEqual([['l', 'LTRIM', 'unknown', 'AFTER_FAILURE']]);
    await writer.ltrim('elsewhere', -3, -1);
    await settled(writer);
    expect(failures()).toHaveLength(1);
  });

  it('is recorded at once, and then once a second with all others of the key', async () => {
    const writer = await bed.writer();
    await writer.rpush('l', 'a', 'b', 'c', 'd');
    await miss(writer, () => writer.lset('l', 0, 'A'));
    const begunAt = performance.now();
    for (let turn = 0; turn < 200; turn++) await writer.ltrim('l', -3, -1);
    await settled(writer);
    const seconds = (performance.now() - begunAt) / 1000;
    expect(failures()[0]).toEqual(['l', 'LTRIM', 'unknown', 'AFTER_FAILURE']);
    expect(failures().length).toBeGreaterThan(1);
    expect(failures().length).toBeLessThanOrEqual(2 + seconds);
  });
});

describe('an older write that lands on top of the repair of a newer one', () => {
  const more = (mode: 'normal' | 'transactional') => ({
    bounds: { inFlight: 1, queued: 1 },
    ...(mode === 'transactional' && { transactional: {} }),
  });

  /** The older writes of `k` land, and all that is known of it afterwards is enough. */
  async function landsAndIsMended(writer: DualWriter): Promise<void> {
    const before = bed.sink.records.length;
    await repair(bed, bed.sink.records);
    expect(await bed.target.client.get('k')).toBe(await bed.source.client.get('k'));
    bed.link.release();
    await settled(writer);
    const later = bed.sink.records.slice(before);
    expect(await bed.target.client.get('k')).toBe('older');
    // By the mark of the repair, or, where that found nothing to do, by the writer's own memory.
    const code = expect.stringMatching(/^(CROSSED|AFTER_FAILURE)$/);
    expect(later.map(({ key, outcome, error }) => [key, outcome, error?.code])).toEqual([['k', 'unknown', code]]);
    await repair(bed, later);
    expect(await bed.target.client.get('k')).toBe(await bed.source.client.get('k'));
    // The record is none of a failure, which would ask for further ones; and the mark of the repair
    // is older than the next write, by more than clocks are trusted with.
    await sleep(100);
    await writer.set('k', 'newest');
    await settled(writer);
    expect(bed.sink.records).toHaveLength(before + 1);
    expect(await bed.target.client.get('k')).toBe('newest');
  }

  it.each(['normal', 'transactional'] as const)('out of the queue, is recorded (%s)', async (mode) => {
    const writer = await bed.writer({ timeoutMs: 9_000, more: more(mode) });
    bed.link.swallow();
    await writer.set('other', '1');
    await writer.set('k', 'older');
    await writer.set('k', 'newer');
    await bed.sink.have(1);
    expect(failures()).toEqual([['k', 'SET', 'refused', 'OVERLOADED']]);
    await landsAndIsMended(writer);
  });

  it('out of flight, is recorded', async () => {
    const writer = await bed.writer({ timeoutMs: 9_000, more: more('normal') });
    bed.link.swallow();
    await writer.set('k', 'older');
    await writer.set('other', '1');
    await writer.set('k', 'newer');
    await bed.sink.have(1);
    expect(failures()).toEqual([['k', 'SET', 'refused', 'OVERLOADED']]);
    await landsAndIsMended(writer);
  });

  it('whose record has no copy at the target, is recorded', async () => {
    const writer = await bed.writer({ timeoutMs: 9_000 });
    bed.link.swallow();
    await writer.set('k', 'older');
    await writer.rename('k', 'elsewhere');
    await bed.sink.have(2);
    expect(failures()).toContainEqual(['k', 'RENAME', 'unknown', 'NOT_MIRRORED']);
    await landsAndIsMended(writer);
  });

  it('in one transaction with it, is recorded', async () => {
    const writer = await bed.writer({ timeoutMs: 9_000 });
    bed.link.swallow();
    await writer.multi().set('k', 'older').rename('k', 'elsewhere').exec();
    await bed.sink.have(2);
    await landsAndIsMended(writer);
  });

  it('in one transaction with a script that failed half-way, is recorded', async () => {
    const writer = await bed.writer({ timeoutMs: 9_000 });
    bed.link.swallow();
    const script = "redis.call('SET', KEYS[1], 'half'); return redis.call('INCR', KEYS[1])";
    await writer.multi().set('k', 'older').eval(script, 1, 'k').exec();
    await bed.sink.have(1);
    expect(failures()).toEqual([['k', 'EVAL', 'unknown', 'SOURCE_UNKNOWN']]);
    await landsAndIsMended(writer);
  });
});

describe('a late write', () => {
  it('that was given up after a timeout does not land on a repaired key when the network lets go of it', async () => {
    const writer = await bed.writer({ timeoutMs: 100 });
    await mirrored(writer, 'old');
    bed.link.swallow();
    await writer.set('k', 'late');
    await bed.sink.have(1);
    expect(bed.sink.records[0]).toMatchObject({ key: 'k', outcome: 'unknown', error: { code: 'TIMEOUT' } });
    await bed.source.client.set('k', 'newer');
    await expectEqualAfterRepair(bed, bed.sink.records);
    bed.link.release();
    while (writer.stats().mirrored < 2) {
      await writer.set('probe', '1');
      await settled(writer);
    }
    expect(await bed.target.client.get('k')).toBe('newer');
    await repair(bed, bed.sink.records);
    expect(await differing(bed)).toEqual([]);
  });

  it('that the network delivers in spite of the reset is found when the key is compared again', async () => {
    const relay = await startRelay(bed.target.port);
    try {
      const writer = await bed.writer({ timeoutMs: 100, target: { port: relay.port } });
      relay.holdFrom('late');
      await writer.set('k', 'late');
      await bed.sink.have(1);
      // So keymend waits, and compares once more after a repair.
      expect(bed.sink.records[0]).toMatchObject({ key: 'k', outcome: 'unknown', error: { code: 'TIMEOUT' } });
      await bed.source.client.set('k', 'newer');
      await expectEqualAfterRepair(bed, bed.sink.records);
      relay.deliver();
      await eventually(async () => expect(await bed.target.client.get('k')).toBe('late'));
      await expectEqualAfterRepair(bed, bed.sink.records);
    } finally {
      relay.close();
    }
  });
});

const FAULTS: Record<string, (link: FaultProxy) => void> = {
  resets: (link) => link.cut(),
  'is half-open': (link) => link.swallow(),
  'is slow': (link) => link.slow(30),
};

describe.each<[string, (typeof FAULTS)[string][]]>([
  ...Object.entries(FAULTS).map(([name, fault]): [string, [typeof fault]] => [name, [fault]]),
  ['does all of that in turns', Object.values(FAULTS)],
])('under load, while the link %s and heals again and again', (_, faults) => {
  it('every key that differs has a record, and repaired by these the sides are equal', async () => {
    const writer = await bed.writer({
      timeoutMs: 200,
      more: { breaker: { failures: 3, minProbeMs: 10, maxProbeMs: 50 }, bounds: { inFlight: 200, queued: 200 } },
    });
    let running = true;
    const writing = Array.from({ length: 8 }, async (_, client) => {
      for (let turn = 0; running; turn++) {
        const key = `${client}:${turn % 25}`;
        await Promise.all([
          writer.append(`log:${key}`, `${turn},`),
          writer.pipeline().incr(`n:${key}`).rpush(`l:${key}`, turn).ltrim(`l:${key}`, -5, -1).exec(),
          writer
            .multi()
            .hset(`h:${key}`, `f${turn % 7}`, turn)
            .sadd(`s:${key}`, turn)
            .exec(),
        ]);
        // Busy without a break, the process could not even connect in time.
        await new Promise((resolve) => setTimeout(resolve, 2));
      }
    });
    for (let round = 0; round < 9; round++) {
      faults[round % faults.length]!(bed.link);
      await grown(() => bed.sink.records.length + writer.stats().mirrored, 50);
      bed.link.restore();
      await grown(() => writer.stats().mirrored, 50);
    }
    running = false;
    await Promise.all(writing);
    await settled(writer);
    expect(bed.lost).toEqual([]);
    const recorded = new Set(bed.sink.records.map(({ key }) => key));
    expect(recorded.size).toBeGreaterThan(10);
    const different = await differing(bed);
    expect(different.filter((key) => !recorded.has(key))).toEqual([]);
    expect(different).not.toEqual([]);
    await expectEqualAfterRepair(bed, bed.sink.records);
  });
});

async function grown(count: () => number, by: number): Promise<void> {
  const before = count();
  while (count() < before + by) await new Promise((resolve) => setTimeout(resolve, 1));
}

it('a transaction of very many writes gets there', async () => {
  const writer = await bed.writer({ timeoutMs: 30_000 });
  const writes = 150_000;
  const transaction = writer.multi();
  for (let turn = 0; turn < writes; turn++) transaction.incr('n');
  await transaction.exec();
  await settled(writer);
  expect(await bed.target.client.get('n')).toBe(`${writes}`);
  // On a busy machine it takes longer than a mark lives.
  expect(failures().filter(([, , , code]) => code !== 'CROSSED')).toEqual([]);
  expect(writer.stats()).toMatchObject({ mirrored: 1, inFlight: 0 });
});
