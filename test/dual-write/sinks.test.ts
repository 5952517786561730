import { type AddressInfo, createServer, type Server, type Socket } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import type { DualWriter } from '../../src/dual-write/dual-writer.js';
import { UnrecordedWriteError } from '../../src/dual-write/options.js';
import { type RecordSink, RecordsRefusedError } from '../../src/events/record-sink.js';
import { createKafkaRecordSink } from '../../src/kafka/record-sink.js';
import type { FailedWrite } from '../../workflows/messages.js';
import { type Bed, MemorySink, settled, startBed } from './bed.js';

let bed: Bed;
beforeAll(async () => {
  bed = await startBed();
});
afterEach(() => bed.reset());
afterAll(() => bed.stop());

/** Answers when the test says so. */
class SlowSink implements RecordSink {
  readonly calls: { records: readonly FailedWrite[]; take(): void; refuse(): void }[] = [];
  #called: (() => void)[] = [];

  publish(records: readonly FailedWrite[]): Promise<void> {
    return new Promise((resolve, reject) => {
      this.calls.push({ records, take: resolve, refuse: () => reject(new Error('too late')) });
      for (const told of this.#called.splice(0)) told();
    });
  }

  async called(times: number): Promise<void> {
    while (this.calls.length < times) await new Promise<void>((resolve) => this.#called.push(resolve));
  }
}

/** Writes that the target refuses, one after the other. */
async function fail(writer: DualWriter, ...keys: string[]): Promise<void> {
  await bed.target.client.replicaof('127.0.0.1', 1);
  for (const key of keys) {
    await writer.set(key, '1');
    while (writer.stats().inFlight > 0) await new Promise((resolve) => setImmediate(resolve));
  }
}

/** Writes that the target refuses in one moment, so that their records are one batch. */
async function failTogether(writer: DualWriter, ...keys: string[]) {
  await bed.target.client.replicaof('127.0.0.1', 1);
  return Promise.allSettled(keys.map((key) => writer.set(key, '1')));
}

function keysOf(records: readonly FailedWrite[]): string[] {
  return records.map(({ key }) => key);
}

it('a sink that takes its time is given all of it, where the times are without end', async () => {
  const [slow, other] = [new SlowSink(), new MemorySink()];
  const writer = await bed.writer({ records: [slow, other], more: { failoverAfterMs: Number.POSITIVE_INFINITY } });
  await fail(writer, 'a');
  await slow.called(1);
  const closed = writer.close({ timeoutMs: Number.POSITIVE_INFINITY });
  expect(await Promise.race([closed, sleep(100, 'not yet')])).toBe('not yet');
  slow.calls[0]!.take();
  expect(await closed).toEqual({ notRecorded: [], unanswered: [] });
  expect(other.records).toEqual([]);
});

describe('several sinks', () => {
  it('are asked in their order: the second gets what the first does not take, and nothing is told to be lost', async () => {
    const [first, second] = [new MemorySink(), new MemorySink()];
    const writer = await bed.writer({ records: [first, second] });
    first.broken = true;
    await fail(writer, 'a', 'b', 'c');
    await settled(writer);
    expect(keysOf(second.records)).toEqual(['a', 'b', 'c']);
    expect(writer.stats()).toMatchObject({ recorded: 3, lost: 0 });
    expect(bed.lost).toEqual([]);
    // A sink that failed rests: it is not asked again for every record.
    expect(first.calls).toHaveLength(1);
  });

  it('are used again from the first on when it works again', async () => {
    const [first, second] = [new MemorySink(), new MemorySink()];
    const writer = await bed.writer({ records: [first, second] });
    first.broken = true;
    await fail(writer, 'a');
    await settled(writer);
    first.broken = false;
    while (first.records.length === 0) {
      await writer.set('b', '1');
      await settled(writer);
    }
    expect(keysOf(second.records)[0]).toBe('a');
    expect(keysOf(first.records)).toEqual(['b']);
    const before = second.records.length;
    await fail(writer, 'c', 'd');
    await settled(writer);
    expect(second.records).toHaveLength(before);
    expect(keysOf(first.records)).toEqual(['b', 'c', 'd']);
  });

  it('are asked although they rest before a record is lost', async () => {
    const [first, second] = [new MemorySink(), new MemorySink()];
    const writer = await bed.writer({ records: [first, second] });
    first.broken = true;
    await fail(writer, 'a');
    await settled(writer);
    [first.broken, second.broken] = [false, true];
    await fail(writer, 'b');
    await settled(writer);
    expect(keysOf(first.records)).toEqual(['b']);
    expect(bed.lost).toEqual([]);
  });

  it('lose a record only when none takes it, and say why each did not', async () => {
    const [first, second] = [new MemorySink(), new MemorySink()];
    const writer = await bed.writer({ records: [first, second] });
    [first.broken, second.broken] = [true, true];
    await fail(writer, 'a');
    await settled(writer);
    expect(writer.stats()).toMatchObject({ recorded: 0, lost: 1 });
    expect(bed.lost.map(({ message }) => message)).toEqual([
      expect.stringMatching(/^1 failed write was not recorded, [^\n]+: the log is down; the log is down$/),
    ]);
  });

  it('share a batch when one refuses a part of it: the next sink gets that part alone, and nobody rests for it', async () => {
    const [first, second] = [new MemorySink(), new MemorySink()];
    first.refuses = 'b';
    const writer = await bed.writer({ records: [first, second] });
    await failTogether(writer, 'a', 'b', 'c');
    await settled(writer);
    expect(keysOf(first.records)).toEqual(['a', 'c']);
    expect(keysOf(second.records)).toEqual(['b']);
    await failTogether(writer, 'd');
    await settled(writer);
    expect(keysOf(first.records)).toEqual(['a', 'c', 'd']);
    expect(writer.stats()).toMatchObject({ recorded: 4, lost: 0 });
  });

  it('lose of a batch what each of them refuses, and no more; whoever waits for another record is told it is safe', async () => {
    const sinks = [new MemorySink(), new MemorySink()];
    for (const sink of sinks) sink.refuses = 'b';
    const writer = await bed.writer({ records: sinks, more: { onUnrecorded: 'reject' } });
    const ends = await failTogether(writer, 'a', 'b', 'c');
    expect(ends.map(({ status }) => status)).toEqual(['fulfilled', 'rejected', 'fulfilled']);
    expect(writer.stats()).toMatchObject({ recorded: 2, lost: 1 });
    expect(bed.lost.map(({ records }) => keysOf(records))).toEqual([['b']]);
    expect(bed.lost[0]!.message).toMatch(/: too large for the log; too large for the log$/);
  });

  it('are not believed that refuse records which they were not given', async () => {
    const [first, second] = [new MemorySink(), new MemorySink()];
    first.publish = async (records) => {
      throw new RecordsRefusedError('a copy', structuredClone(records));
    };
    const writer = await bed.writer({ records: [first, second] });
    await failTogether(writer, 'a', 'b');
    await settled(writer);
    expect(keysOf(second.records)).toEqual(['a', 'b']);
    expect(bed.lost).toEqual([]);
  });

  it('do not wait for one that does not answer; what it takes after all is there twice, with the same ids', async () => {
    const [first, second] = [new SlowSink(), new MemorySink()];
    const writer = await bed.writer({ records: [first, second], more: { failoverAfterMs: 50 } });
    await fail(writer, 'a', 'b');
    const records = await second.have(2);
    expect(first.calls).toHaveLength(1);
    first.calls[0]!.take();
    expect(first.calls[0]!.records).toEqual(records.slice(0, first.calls[0]!.records.length));
    await settled(writer);
    expect(writer.stats()).toMatchObject({ recorded: 2, lost: 0 });
    // It answered, so it is the first choice again.
    await fail(writer, 'c');
    await first.called(2);
    expect(keysOf(first.calls[1]!.records)).toEqual(['c']);
  });

  it('wait for the slow one when the next one fails', async () => {
    const [first, second] = [new SlowSink(), new MemorySink()];
    const writer = await bed.writer({ records: [first, second], more: { failoverAfterMs: 50 } });
    second.broken = true;
    await fail(writer, 'a');
    while (second.calls.length === 0) await new Promise((resolve) => setImmediate(resolve));
    expect(writer.stats()).toMatchObject({ recording: 1, lost: 0 });
    first.calls[0]!.take();
    await settled(writer);
    expect(writer.stats()).toMatchObject({ recorded: 1, lost: 0 });
  });

  it('get at close what the first one is still busy with', async () => {
    const [first, second] = [new SlowSink(), new MemorySink()];
    const writer = await bed.writer({ records: [first, second], more: { failoverAfterMs: 60_000 } });
    await fail(writer, 'a');
    await first.called(1);
    await fail(writer, 'b');
    const report = await writer.close({ timeoutMs: 1000 });
    expect(report).toEqual({ notRecorded: [], unanswered: [] });
    expect(keysOf(second.records)).toEqual(['a', 'b']);
  });
});

describe('a Kafka that takes connections but does not answer', () => {
  let blackHole: Server;
  const sockets: Socket[] = [];
  beforeAll(async () => {
    blackHole = createServer((socket) => sockets.push(socket.on('error', () => {})));
    await new Promise<void>((resolve) => blackHole.listen(0, '127.0.0.1', resolve));
  });
  afterAll(() => {
    for (const socket of sockets) socket.destroy();
    blackHole.close();
  });

  const deadKafka = () => {
    const { port } = blackHole.address() as AddressInfo;
    return createKafkaRecordSink({ kafka: { brokers: [`127.0.0.1:${port}`] }, topic: 'keymend.failed-writes' });
  };

  it('is passed over for the next sink, and its own patience does not hold up close', async () => {
    const [kafka, outbox] = [deadKafka(), new MemorySink()];
    const writer = await bed.writer({ records: [kafka, outbox], more: { failoverAfterMs: 100 } });
    await fail(writer, 'a', 'b');
    await outbox.have(2);
    await fail(writer, 'c');
    expect(await writer.close({ timeoutMs: 2000 })).toEqual({ notRecorded: [], unanswered: [] });
    expect(keysOf(outbox.records)).toEqual(['a', 'b', 'c']);
    expect(bed.lost).toEqual([]);
  });

  it('as the only sink leaves its records to the report of close', async () => {
    const writer = await bed.writer({ records: deadKafka() });
    await fail(writer, 'a');
    const report = await writer.close({ timeoutMs: 500 });
    expect(keysOf(report.notRecorded)).toEqual(['a']);
  });
});

describe('a Kafka that refuses connections', () => {
  const deadKafka = () =>
    createKafkaRecordSink({ kafka: { brokers: ['127.0.0.1:1'] }, topic: 'keymend.failed-writes' });

  it('as the only sink is waited for: nothing is lost at once, and close tells within its bound what is left', async () => {
    const kafka = deadKafka();
    const writer = await bed.writer({ records: kafka });
    await fail(writer, 'a');
    // Longer than kafkajs itself goes on.
    await expect(deadKafka().connect()).rejects.toThrow();
    await fail(writer, 'b');
    expect(writer.stats()).toMatchObject({ recording: 2, lost: 0 });
    const begun = performance.now();
    const report = await writer.close({ timeoutMs: 500 });
    expect(performance.now() - begun).toBeLessThan(5000);
    expect(keysOf(report.notRecorded)).toEqual(['a', 'b']);
    await kafka.close();
  });

  it('is passed over for the next sink', async () => {
    const [kafka, outbox] = [deadKafka(), new MemorySink()];
    const writer = await bed.writer({ records: [kafka, outbox], more: { failoverAfterMs: 100 } });
    await fail(writer, 'a', 'b');
    await outbox.have(2);
    await fail(writer, 'c');
    expect(await writer.close()).toEqual({ notRecorded: [], unanswered: [] });
    expect(keysOf(outbox.records)).toEqual(['a', 'b', 'c']);
    expect(bed.lost).toEqual([]);
    await kafka.close();
  });
});

describe('records that wait', () => {
  it('are one for each key, however many of its writes fail', async () => {
    const sink = new SlowSink();
    const writer = await bed.writer({ records: sink });
    await fail(writer, 'first');
    await sink.called(1);
    await Promise.all(Array.from({ length: 500 }, (_, index) => writer.sadd(`set${index % 5}`, `m${index}`)));
    while (writer.stats().inFlight > 0) await new Promise((resolve) => setImmediate(resolve));
    expect(writer.stats().recording).toBe(6);
    sink.calls[0]!.take();
    await sink.called(2);
    const { records } = sink.calls[1]!;
    expect(keysOf(records).sort()).toEqual(['set0', 'set1', 'set2', 'set3', 'set4']);
    for (const { command, members } of records) expect([command, members?.length]).toEqual(['SADD', 100]);
  });

  it('are lost beyond their bound, which the application is told at once', async () => {
    const sink = new SlowSink();
    const writer = await bed.writer({ records: sink, more: { bounds: { records: 3 } } });
    await fail(writer, 'first');
    await sink.called(1);
    await fail(writer, 'a', 'b', 'c', 'd', 'a', 'e');
    await new Promise((resolve) => setImmediate(resolve));
    expect(bed.lost.flatMap(({ records }) => keysOf(records))).toEqual(['d', 'e']);
    expect(bed.lost[0]?.message).toMatch(/3 keys already wait for a sink/);
    expect(writer.stats()).toMatchObject({ recording: 4, lost: 2 });
  });
});

describe('with onUnrecorded: reject, a write', () => {
  it('resolves with the reply of the source when the target has it or a sink took its record', async () => {
    const writer = await bed.writer({ more: { onUnrecorded: 'reject' } });
    expect(await writer.incr('n')).toBe(1);
    expect(writer.stats().mirrored).toBe(1);
    await bed.target.client.replicaof('127.0.0.1', 1);
    expect(await writer.incr('n')).toBe(2);
    expect(writer.stats().recorded).toBe(1);
    expect(await writer.multi().incr('n').get('n').exec()).toEqual([
      [null, 3],
      [null, '3'],
    ]);
    expect(await writer.pipeline().incr('n').get('n').exec()).toEqual([
      [null, 4],
      [null, '4'],
    ]);
  });

  it('rejects when neither is so, and says that the source has it', async () => {
    const writer = await bed.writer({ more: { onUnrecorded: 'reject' } });
    await bed.target.client.replicaof('127.0.0.1', 1);
    bed.sink.broken = true;
    const error: unknown = await writer.set('k', 'v').catch((reason: unknown) => reason);
    expect(error).toBeInstanceOf(UnrecordedWriteError);
    expect((error as Error).message).toMatch(
      /^the source has carried out the write, [^\n]+nothing will repair their keys: the log is down$/,
    );
    expect(keysOf((error as UnrecordedWriteError).records)).toEqual(['k']);
    expect(await writer.get('k')).toBe('v');
    await expect(writer.multi().incr('n').incr('m').exec()).rejects.toThrow(UnrecordedWriteError);
    const [first] = (await writer.pipeline().set('p', '1').get('p').exec()) ?? [];
    expect(first?.[0]).toBeInstanceOf(UnrecordedWriteError);
    // The event comes nevertheless.
    expect(bed.lost.length).toBeGreaterThanOrEqual(3);
  });

  it('waits for the target, also longer than the source may take', async () => {
    const more = { onUnrecorded: 'reject' } as const;
    const writer = await bed.writer({ more, source: { commandTimeout: 1_000 }, timeoutMs: 60_000 });
    bed.link.slow(1_000);
    expect(await writer.set('k', 'v')).toBe('OK');
    expect(await bed.target.client.get('k')).toBe('v');
  });

  it('rejects at the end of close when no sink took its record', async () => {
    const writer = await bed.writer({ records: new SlowSink(), more: { onUnrecorded: 'reject' } });
    await bed.target.client.replicaof('127.0.0.1', 1);
    const outcome = writer.set('k', 'v').catch((reason: unknown) => reason);
    while (writer.stats().recording === 0) await new Promise((resolve) => setImmediate(resolve));
    const report = await writer.close({ timeoutMs: 200 });
    expect(keysOf(report.notRecorded)).toEqual(['k']);
    expect(await outcome).toBeInstanceOf(UnrecordedWriteError);
  });
});
