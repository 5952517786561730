import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { Redis } from 'ioredis';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { createDualWriter, type DualWriter } from '../../src/dual-write/dual-writer.js';
import { mirrorOptions } from '../../src/dual-write/target/mirror-options.js';
import type { RecordSink } from '../../src/events/record-sink.js';
import { keysOf } from '../support/keys.js';
import { type Bed, settled, startBed } from './bed.js';
import { expectMended } from './repair.js';

let bed: Bed;
beforeAll(async () => {
  bed = await startBed();
});
afterEach(() => bed.reset());
afterAll(() => bed.stop());

/** Neither takes nor refuses. */
const stuckSink: RecordSink = { publish: () => new Promise(() => {}) };

function codes(): (string | undefined)[] {
  return bed.sink.records.map(({ error }) => error?.code);
}

function changeOf(writer: DualWriter, state: string): Promise<void> {
  return new Promise((resolve) => {
    writer.on('breaker', (change) => {
      if (change.state === state) resolve();
    });
  });
}

function shard(writer: DualWriter) {
  return writer.stats().shards[0]!;
}

describe('what may wait for the target', () => {
  afterEach(() => expectMended(bed));

  it('is bounded: writes beyond it are recorded at once, the others get there in order', async () => {
    const writer = await bed.writer({ timeoutMs: 60_000, more: { bounds: { inFlight: 10, queued: 20 } } });
    bed.link.swallow();
    for (let turn = 0; turn < 100; turn++) await writer.set(`k${turn}`, 'v');
    expect(shard(writer)).toMatchObject({ inFlight: 10, queued: 20, breaker: 'closed' });
    const records = await bed.sink.have(70);
    expect(records.map(({ key }) => key)).toEqual(Array.from({ length: 70 }, (_, index) => `k${index + 30}`));
    expect(new Set(codes())).toEqual(new Set(['OVERLOADED']));
    expect(new Set(records.map(({ outcome }) => outcome))).toEqual(new Set(['refused']));
    bed.link.release();
    await settled(writer);
    expect(await keysOf(bed.target.client)).toHaveLength(30);
    expect(writer.stats()).toMatchObject({ mirrored: 30, recorded: 70 });
  });

  it('is bounded in bytes too, but a single larger write goes', async () => {
    const writer = await bed.writer({ timeoutMs: 60_000, more: { bounds: { bytes: 10_000 } } });
    bed.link.swallow();
    await writer.set('large', 'v'.repeat(50_000));
    await writer.set('small', 'v');
    expect((await bed.sink.have(1)).map(({ key }) => key)).toEqual(['small']);
    bed.link.release();
    await settled(writer);
    expect(await bed.target.client.strlen('large')).toBe(50_000);
    await writer.set('small', 'again');
    await settled(writer);
    expect(await bed.target.client.get('small')).toBe('again');
  });

  it('does not hold back a transaction that is larger than the bound', async () => {
    const writer = await bed.writer({ more: { bounds: { inFlight: 2 } } });
    const transaction = writer.multi();
    for (let turn = 0; turn < 5; turn++) transaction.rpush('l', turn);
    await Promise.all([writer.set('before', '1'), transaction.exec(), writer.set('behind', '1')]);
    await settled(writer);
    expect(await bed.target.client.lrange('l', 0, -1)).toEqual(['0', '1', '2', '3', '4']);
    expect(await bed.target.client.exists('before', 'behind')).toBe(2);
    expect(bed.sink.records).toEqual([]);
  });
});

describe('the breaker', () => {
  afterEach(() => expectMended(bed));

  const breaker = { failures: 3, minProbeMs: 20, maxProbeMs: 100 };

  it('opens when the target does not answer several times in a row, and closes when it answers again', async () => {
    const writer = await bed.writer({ timeoutMs: 100, more: { breaker } });
    const changes: unknown[] = [];
    writer.on('breaker', (change) => changes.push(change));
    const [opened, closed] = [changeOf(writer, 'open'), changeOf(writer, 'closed')];
    bed.link.swallow();
    await Promise.all([writer.set('a', '1'), writer.set('b', '1'), writer.set('c', '1')]);
    await bed.sink.have(3);
    expect(codes()).toEqual(['TIMEOUT', 'CONNECTION_LOST', 'CONNECTION_LOST']);
    expect(shard(writer).breaker).toBe('closed');
    while (shard(writer).breaker === 'closed') {
      await writer.set('a', '2');
      await settled(writer);
      await new Promise((resolve) => setImmediate(resolve));
    }
    await opened;
    // Nothing is sent, so nothing waits for a timeout.
    await writer.set('d', '1');
    await settled(writer);
    expect(bed.sink.records.at(-1)).toMatchObject({
      key: 'd',
      outcome: 'refused',
      error: { code: 'BREAKER_OPEN' },
    });
    bed.link.restore();
    await closed;
    await writer.set('e', '1');
    await settled(writer);
    expect(await keysOf(bed.target.client)).toEqual(['e']);
    const name = `127.0.0.1:${bed.link.port}`;
    expect(changes).toEqual([
      { shard: name, state: 'open', reason: expect.stringContaining('there was no connection to the target') },
      { shard: name, state: 'closed' },
    ]);
  });

  it('stays closed when the target answers, even if it refuses', async () => {
    const writer = await bed.writer({ more: { breaker } });
    await bed.target.client.replicaof('127.0.0.1', 1);
    for (let turn = 0; turn < 10; turn++) await writer.set('k', turn);
    await settled(writer);
    expect(shard(writer).breaker).toBe('closed');
    expect(new Set(codes())).toEqual(new Set(['READONLY']));
  });

  it('gives up what waits in the queue when it opens', async () => {
    const more = { breaker: { ...breaker, failures: 1 }, bounds: { inFlight: 3 } };
    const writer = await bed.writer({ timeoutMs: 100, more });
    const opened = changeOf(writer, 'open');
    bed.link.swallow();
    await Promise.all(Array.from({ length: 10 }, (_, index) => writer.set(`k${index}`, 'v')));
    await opened;
    await settled(writer);
    expect(writer.stats().inFlight).toBe(0);
    expect(bed.sink.records).toHaveLength(10);
    expect(codes().filter((code) => code === 'BREAKER_OPEN').length).toBeGreaterThan(0);
    expect(bed.sink.records.filter(({ outcome }) => outcome === 'unknown').length).toBeLessThanOrEqual(3);
  });
});

describe('a process that is busy itself', () => {
  it('does not take for silence of the target what it had no time to read', async () => {
    const source = new Redis(bed.source.port, '127.0.0.1', { protocol: 2 });
    // Without the link, which is busy with it.
    const target = new Redis(bed.target.port, '127.0.0.1', mirrorOptions(500));
    try {
      const writer = createDualWriter({ ...bed.names, source, target, records: bed.sink, onError: () => {} });
      await Promise.all([source.ping(), new Promise((resolve) => target.once('ready', resolve))]);
      await bed.target.client.client('PAUSE', 60_000, 'WRITE');
      await writer.set('k', 'v');
      while (shard(writer).inFlight === 0) await new Promise((resolve) => setImmediate(resolve));
      const goesOn = bed.target.client.client('UNPAUSE');
      const until = performance.now() + 1000;
      while (performance.now() < until);
      await Promise.all([goesOn, settled(writer)]);
      expect(codes()).toEqual([]);
      expect(writer.stats().mirrored).toBe(1);
    } finally {
      source.disconnect();
      target.disconnect();
    }
  });
});

describe('memory', () => {
  it('stays flat while target and log are both dead and the application writes at full load', async () => {
    let lost = 0;
    const more = { bounds: { records: 5000 }, breaker: { failures: 1 } };
    const writer = await bed.writer({ timeoutMs: 500, records: stuckSink, more });
    bed.lost.push = (...errors) => {
      // Kept, they would be the leak that this test looks for.
      for (const { records } of errors) lost += records.length;
      return 0;
    };
    bed.link.swallow();
    const value = 'v'.repeat(1000);
    let key = 0;
    const writeAll = async (count: number) => {
      for (let turn = 0; turn < count / 500; turn++) {
        await Promise.all(Array.from({ length: 500 }, () => writer.set(`key:${key++}`, value)));
        // The source must not be what fills up.
        if (turn % 20 === 0) await bed.source.client.flushall();
      }
    };
    // So many unanswered bytes give the target some seconds more.
    while (key < 20_000 || shard(writer).breaker !== 'open') await writeAll(2_500);
    const before = heapUsed();
    await writeAll(40_000);
    const grownMiB = (heapUsed() - before) / 1024 / 1024;
    expect(shard(writer).breaker).toBe('open');
    // One batch is on its way to the sink, and the bound waits.
    expect(writer.stats().recording).toBeLessThanOrEqual(6000);
    expect(lost).toBeGreaterThan(30_000);
    // The values alone would be 38 MiB.
    expect(grownMiB).toBeLessThan(12);
  });
});

/** Bytes in use once everything that can go is gone. */
function heapUsed(): number {
  setFlagsFromString('--expose-gc');
  const collect = runInNewContext('gc') as () => void;
  collect();
  const { heapUsed: heap, external } = process.memoryUsage();
  return heap + external;
}
