import { Redis } from 'ioredis';
import { afterAll, afterEach, beforeAll, describe, expect, it, onTestFinished } from 'vitest';
import { createDualWriter, type DualWriter } from '../../src/dual-write/dual-writer.js';
import { mirrorOptions } from '../../src/dual-write/target/mirror-options.js';
import type { RecordSink } from '../../src/events/record-sink.js';
import { type FaultProxy, startProxy } from '../../src/stack/proxy.js';
import { keysOf } from '../support/keys.js';
import { type Bed, settled, startBed } from './bed.js';

let bed: Bed;
beforeAll(async () => {
  // Without HSET on the target its error reply quotes the arguments.
  bed = await startBed(['--rename-command', 'HSET', '""']);
});
afterEach(() => bed.reset());
afterAll(() => bed.stop());

/** Neither takes nor refuses. */
const stuckSink: RecordSink = { publish: () => new Promise(() => {}) };

describe('records', () => {
  it('that the sink does not take are given to the application, and counted', async () => {
    const writer = await bed.writer();
    await bed.target.client.replicaof('127.0.0.1', 1);
    bed.sink.broken = true;
    await writer.set('a', '1');
    await settled(writer);
    const report = await writer.close();
    expect(report).toEqual({ notRecorded: [], unanswered: [] });
    expect(bed.lost).toHaveLength(1);
    expect(bed.lost[0]?.message).toMatch(/^1 failed write was not recorded, [^\n]+: the log is down$/);
    expect(bed.lost[0]?.records.map(({ key }) => key)).toEqual(['a']);
    expect(writer.stats()).toMatchObject({ lost: 1, recorded: 0 });
  });

  it('go on being handed over after some were lost', async () => {
    const writer = await bed.writer();
    await bed.target.client.replicaof('127.0.0.1', 1);
    bed.sink.broken = true;
    await writer.set('a', '1');
    while (bed.lost.length === 0) await new Promise((resolve) => setImmediate(resolve));
    bed.sink.broken = false;
    await writer.set('b', '1');
    expect((await bed.sink.have(1)).map(({ key }) => key)).toEqual(['b']);
  });

  it('hold no value, whatever the error says', async () => {
    const marker = 'SECRET-MARKER';
    const writer = await bed.writer();
    await bed.target.client.set('wrong', marker);
    await writer.hset('hash', { field: marker });
    await writer.set('wrong', marker, 'EX', 100);
    await writer.lpush('list', marker);
    await bed.target.client.set('typed', 'x');
    await writer.rpush('typed', marker);
    await writer.eval('return redis.call("SET", KEYS[1], ARGV[1])', 1, 'script', marker);
    await writer.eval('return redis.error_reply(ARGV[1])', 1, 'error', marker).catch(() => {});
    await writer.multi().set('tx', marker).hset('tx2', 'f', marker).exec();
    await settled(writer);
    await bed.target.client.replicaof('127.0.0.1', 1);
    await writer.zadd('z', 1, 'member');
    await writer.getset('wrong', `${marker}2`);
    const records = await bed.sink.have(8);
    expect(records.map(({ error }) => error?.code)).toEqual(
      expect.arrayContaining(['ERR', 'WRONGTYPE', 'NOT_MIRRORED', 'SOURCE_UNKNOWN', 'READONLY']),
    );
    expect(JSON.stringify(records)).not.toContain(marker);
  });
});

describe('close', () => {
  it('waits for what is in flight and leaves nothing', async () => {
    const writer = await bed.writer();
    bed.link.slow(100);
    const written = [writer.set('a', '1'), writer.set('b', '2')];
    const report = await writer.close();
    expect(await Promise.all(written)).toEqual(['OK', 'OK']);
    expect(report).toEqual({ notRecorded: [], unanswered: [] });
    expect(await bed.target.client.mget('a', 'b')).toEqual(['1', '2']);
    expect(writer.stats()).toMatchObject({ mirrored: 2, recorded: 0 });
  });

  it('refuses further writes, but not reads', async () => {
    const writer = await bed.writer();
    await writer.set('a', '1');
    await writer.close();
    await expect(writer.set('a', '2')).rejects.toThrow('the DualWriter is closed');
    expect(await writer.get('a')).toBe('1');
  });

  it('records what the target does not answer in time', async () => {
    const writer = await bed.writer({ timeoutMs: 60_000 });
    bed.link.swallow();
    await writer.set('a', '1');
    const report = await writer.close({ timeoutMs: 2000 });
    expect(report).toEqual({ notRecorded: [], unanswered: [] });
    expect(bed.sink.records.map(({ key, outcome }) => [key, outcome])).toEqual([['a', 'unknown']]);
    bed.link.release();
    expect(await bed.target.client.exists('a')).toBe(0);
  });

  it('says which records the sink did not take in time', async () => {
    const writer = await bed.writer({ records: stuckSink });
    await bed.target.client.replicaof('127.0.0.1', 1);
    await writer.set('a', '1');
    while (writer.stats().recording === 0) await new Promise((resolve) => setImmediate(resolve));
    await writer.set('b', '1');
    const report = await writer.close({ timeoutMs: 300 });
    expect(report.notRecorded.map(({ key }) => key)).toEqual(['a', 'b']);
    expect(report.unanswered).toEqual([]);
  });

  it('says which writes the source did not answer in time, and records them', async () => {
    const writer = await bed.writer();
    bed.source.freeze();
    const written = writer.set('a', '1');
    const report = await writer.close({ timeoutMs: 300 });
    bed.source.thaw();
    expect(report.notRecorded).toEqual([]);
    expect(report.unanswered.map(({ key, outcome }) => [key, outcome])).toEqual([['a', 'unknown']]);
    expect(bed.sink.records).toEqual(report.unanswered);
    expect(await written).toBe('OK');
  });
});

describe('what is kept back when close() is called, because the source is asked about commands', () => {
  /** Its first pipeline waits for that. @param port of the source */
  function unconnected(port: number): DualWriter {
    const source = new Redis(port, '127.0.0.1', { protocol: 2, lazyConnect: true });
    const target = new Redis(bed.target.port, '127.0.0.1', { ...mirrorOptions(), lazyConnect: true });
    onTestFinished(() => {
      source.disconnect();
      target.disconnect();
    });
    return createDualWriter({ ...bed.names, source, target, records: bed.sink, onError() {} });
  }

  it.each<[string, (writer: DualWriter) => Promise<unknown>]>([
    ['a pipeline', (writer) => writer.pipeline().set('a', '1').exec()],
    ['a transaction', (writer) => writer.multi().set('a', '1').exec()],
    ['a write behind it', (writer) => Promise.all([writer.pipeline().ping().exec(), writer.set('a', '1')])],
  ])('(%s) is sent and waited for; what comes after is refused', async (_, write) => {
    const writer = unconnected(bed.source.port);
    const written = write(writer);
    const closed = writer.close();
    await expect(writer.set('a', '2')).rejects.toThrow('the DualWriter is closed');
    expect(JSON.stringify(await written)).toContain('OK');
    expect(await closed).toEqual({ notRecorded: [], unanswered: [] });
    expect(writer.stats().mirrored + writer.stats().recorded).toBe(1);
    expect(await bed.source.client.get('a')).toBe('1');
  });

  it('is refused when the source does not answer in time: nobody would mirror it', async () => {
    const link = await startProxy({ target: { host: '127.0.0.1', port: bed.source.port } });
    onTestFinished(() => link.close());
    link.swallow();
    const writer = unconnected(link.port);
    const written = writer.multi().set('a', '1').exec();
    const single = writer.set('a', '1');
    const refused = Promise.all([written, single].map((call) => expect(call).rejects.toThrow()));
    expect(await writer.close({ timeoutMs: 100 })).toEqual({ notRecorded: [], unanswered: [] });
    link.release();
    await refused;
    expect(await bed.source.client.exists('a')).toBe(0);
  });
});

it('close() waits for what auto-pipelining has gathered', async () => {
  const writer = await bed.writer({ source: { enableAutoPipelining: true } });
  const written = writer.set('a', '1');
  expect(await writer.close()).toEqual({ notRecorded: [], unanswered: [] });
  expect(await written).toBe('OK');
  expect(await bed.target.client.get('a')).toBe('1');
});

describe('a transaction that was queued and never carried out', () => {
  let sourceLink: FaultProxy;
  beforeAll(async () => {
    sourceLink = await startProxy({ target: { host: '127.0.0.1', port: bed.source.port } });
  });
  afterAll(() => sourceLink.close());

  it.each<[string, (writer: DualWriter) => unknown]>([
    ['DISCARD', (writer) => writer.discard()],
    ['RESET', (writer) => writer.call('RESET')],
    [
      'DISCARD without an answer',
      async (writer) => {
        sourceLink.swallow();
        const discarded = writer.discard();
        await new Promise((resolve) => setImmediate(resolve));
        sourceLink.cut();
        await expect(discarded).rejects.toThrow();
      },
    ],
    [
      'the loss of its connection',
      async (writer) => {
        const closed = new Promise<void>((resolve) => writer.once('close', resolve));
        sourceLink.cut();
        await closed;
      },
    ],
  ])('is forgotten with %s, and close() does not wait for it', async (_end, end) => {
    const writer = await bed.writer({ source: { port: sourceLink.port, maxRetriesPerRequest: 0 } });
    await writer.multi({ pipeline: false });
    await writer.set('a', '1');
    await writer.get('a');
    await writer.incr('b');
    try {
      await end(writer);
      // Far beyond the time that a test may take.
      expect(await writer.close({ timeoutMs: 600_000 })).toEqual({ notRecorded: [], unanswered: [] });
      expect(bed.sink.records).toEqual([]);
    } finally {
      sourceLink.restore();
    }
  });

  it('is no part of the next one', async () => {
    const writer = await bed.writer({ source: { port: sourceLink.port } });
    await writer.multi({ pipeline: false });
    await writer.set('a', 'discarded');
    const ready = new Promise<void>((resolve) => writer.once('ready', resolve));
    sourceLink.cut();
    sourceLink.restore();
    await ready;
    await expect(writer.exec()).rejects.toThrow('EXEC without MULTI');
    await writer.multi({ pipeline: false });
    await writer.set('b', '1');
    await writer.exec();
    await settled(writer);
    expect(await keysOf(bed.target.client)).toEqual(['b']);
    expect(await writer.close({ timeoutMs: 600_000 })).toEqual({ notRecorded: [], unanswered: [] });
  });
});
