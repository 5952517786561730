/** Transactional mode: what of it the outbox shows, and that the application sees nothing of it. */
import { Cluster, Redis } from 'ioredis';
import { pino } from 'pino';
import { afterAll, afterEach, beforeAll, describe, expect, it, onTestFinished } from 'vitest';
import { createDualWriter, type DualWriter } from '../../src/dual-write/dual-writer.js';
import type { TransactionalOptions } from '../../src/dual-write/options.js';
import { mirrorOptions } from '../../src/dual-write/target/mirror-options.js';
import { decodeFailedWrite } from '../../src/events/failed-write-codec.js';
import { entryRecord } from '../../src/outbox/entry.js';
import { createOutboxIntake } from '../../src/outbox/intake.js';
import { startProxy } from '../../src/stack/proxy.js';
import type { FailedWrite } from '../../workflows/messages.js';
import { eventually } from '../support/eventually.js';
import { type Bed, MemorySink, settled, startBed, type WriterOptions } from './bed.js';

const STREAM = 'keymend:outbox';

let bed: Bed;
beforeAll(async () => {
  bed = await startBed();
});
afterEach(() => bed.reset());
afterAll(() => bed.stop());

function writer(transactional: TransactionalOptions = {}, { more, ...options }: WriterOptions = {}) {
  return bed.writer({ ...options, more: { ...more, transactional } });
}

interface Entry {
  readonly id: string;
  readonly event: FailedWrite;
  readonly graceMs: number;
}

async function entries(): Promise<Entry[]> {
  const found = await bed.source.client.xrangeBuffer(STREAM, '-', '+');
  return found.map(([id, fields]) => {
    const record = entryRecord(STREAM, { id: String(id), fields });
    const decoded = decodeFailedWrite(record.value);
    if (!decoded.ok || !record.key?.equals(decoded.key)) throw new Error('an entry that is none');
    return { id: String(id), event: decoded.event, graceMs: Number(fields[5]) };
  });
}

async function keysInOutbox(): Promise<string[]> {
  return (await entries()).map(({ event }) => event.key);
}

/** The outbox is emptied behind the writer's back. */
function untilEmpty(): Promise<unknown> {
  return eventually(async () => expect(await keysInOutbox()).toEqual([]));
}

/** Every command that the source got, but for the test's own. */
async function seenBySource(work: () => Promise<unknown>): Promise<string[][]> {
  const own = await bed.source.client.client('ID');
  const address = /addr=(\S+)/.exec((await bed.source.client.client('LIST', 'ID', own)) as string)![1];
  const monitor = await bed.source.client.monitor();
  const seen: string[][] = [];
  const ended = new Promise<void>((resolve) => {
    monitor.on('monitor', (_time: string, args: string[], from: string) => {
      if (from !== address) seen.push(args);
      else if (args[1] === 'the end') resolve();
    });
  });
  await work();
  await bed.source.client.echo('the end');
  await ended;
  monitor.disconnect();
  return seen;
}

describe('a write in transactional mode', () => {
  it('is in the outbox before the source carries it out, in the form of its record', async () => {
    const redis = await writer();
    bed.link.swallow();
    const seen = await seenBySource(() => redis.sadd('s', 'a', 'b'));
    expect(seen.map(([name]) => name?.toUpperCase())).toEqual(['XADD', 'SADD']);
    expect(await entries()).toEqual([
      {
        id: expect.any(String),
        graceMs: 10_000,
        event: expect.objectContaining({
          ...bed.names,
          key: 's',
          command: 'SADD',
          members: ['a', 'b'],
          outcome: 'unknown',
          error: { code: 'IN_FLIGHT', message: expect.any(String) },
        }),
      },
    ]);
  });

  it('leaves the outbox when the target has it', async () => {
    const redis = await writer();
    bed.link.swallow();
    await redis.set('k', 'v');
    expect(await keysInOutbox()).toEqual(['k']);
    bed.link.release();
    await settled(redis);
    await untilEmpty();
    expect(bed.sink.records).toEqual([]);
    expect(await bed.target.client.get('k')).toBe('v');
  });

  it('has an entry for each key that it writes', async () => {
    const redis = await writer();
    bed.link.swallow();
    await redis.mset('a', '1', Buffer.from([0xff]), '2');
    await redis.pipeline().incr('n').get('n').hset('h', 'f', 'v').exec();
    expect(await keysInOutbox()).toEqual(['a', Buffer.from([0xff]).toString('base64'), 'n', 'h']);
    bed.link.release();
    await untilEmpty();
  });

  it('has its entries inside of its transaction', async () => {
    const redis = await writer();
    bed.link.swallow();
    let replies: unknown;
    const seen = await seenBySource(async () => {
      replies = await redis.multi().incr('n').get('n').rpush('l', 'x').exec();
    });
    expect(seen.map(([name]) => name?.toUpperCase())).toEqual([
      'MULTI',
      'XADD',
      'INCR',
      'GET',
      'XADD',
      'RPUSH',
      'EXEC',
    ]);
    expect(replies).toEqual([
      [null, 1],
      [null, '1'],
      [null, 1],
    ]);
    expect(await keysInOutbox()).toEqual(['n', 'l']);
    bed.link.release();
    await untilEmpty();
    expect(await bed.target.client.get('n')).toBe('1');
  });

  it('has no entry left when the source refused it, or had nothing to do', async () => {
    const redis = await writer();
    await redis.set('text', 'v');
    await expect(redis.lpush('text', 'x')).rejects.toThrow('WRONGTYPE');
    await redis.call('SET', 'wrong').catch(() => {});
    await redis.pipeline().lpush('text', 'x').sadd('text', 'x').exec();
    await redis.multi().lpush('text', 'x').set('other', 'v').exec();
    await redis
      .multi()
      .set('k', 'v')
      .call('SET', 'wrong')
      .exec()
      .catch(() => {});
    await redis.set('text', 'w', 'NX');
    await redis.watch('text');
    await bed.source.client.set('text', 'changed');
    expect(await redis.multi().set('text', 'w').exec()).toBeNull();
    await settled(redis);
    await untilEmpty();
    expect(bed.sink.records).toEqual([]);
  });

  it('that blocks has the time of its blocking on top of the grace', async () => {
    const redis = await writer({ graceMs: 3000 });
    const popped = redis.blpop('queue', 5);
    await eventually(async () => expect((await entries()).map(({ graceMs }) => graceMs)).toEqual([8000]));
    await bed.source.client.rpush('queue', 'job');
    expect(await popped).toEqual(['queue', 'job']);
    await untilEmpty();
  });

  it('is sent again after a lost connection as it is without the mode: a pipeline too, if nothing of it was answered', async () => {
    const way = await startProxy({ target: { host: '127.0.0.1', port: bed.source.port } });
    onTestFinished(() => way.close());
    const redis = await writer({}, { source: { port: way.port, retryStrategy: () => 20 } });
    way.swallow();
    const pipeline = redis.pipeline().set('a', '1').get('a').incr('n').exec();
    const transaction = redis.multi().incr('n').get('n').exec();
    const single = redis.set('b', '2');
    way.cut();
    way.restore();
    expect(await pipeline).toEqual([
      [null, 'OK'],
      [null, '1'],
      [null, 1],
    ]);
    expect(await transaction).toEqual([
      [null, 2],
      [null, '2'],
    ]);
    expect(await single).toBe('OK');
    await settled(redis);
    await untilEmpty();
  });
});

describe('a write that the target does not get', () => {
  it('becomes one record, and its entry goes when a sink has that', async () => {
    const redis = await writer();
    await bed.target.client.replicaof('127.0.0.1', 1);
    await redis.sadd('s', 'a');
    await redis.set('k', 'v');
    await bed.sink.have(2);
    await untilEmpty();
    expect(bed.sink.records.map(({ key, error }) => [key, error?.code])).toEqual([
      ['s', 'READONLY'],
      ['k', 'READONLY'],
    ]);
  });

  it('keeps its entry when no sink takes the record', async () => {
    const redis = await writer();
    await bed.target.client.replicaof('127.0.0.1', 1);
    bed.sink.broken = true;
    await redis.set('k', 'v');
    await settled(redis);
    await redis.close();
    expect(bed.lost).toHaveLength(1);
    expect(await keysInOutbox()).toEqual(['k']);
  });

  it('is told as one that keymend will repair, when no sink takes its record', async () => {
    const redis = await writer({}, { more: { onUnrecorded: 'reject' } });
    await bed.target.client.replicaof('127.0.0.1', 1);
    bed.sink.broken = true;
    const error: unknown = await redis.set('k', 'v').catch((reason: unknown) => reason);
    const told =
      /^the source has [^\n]+: 1 failed write was not recorded, but the outbox has entries [^\n]+ keymend will repair their keys[^\n]+: the log is down$/;
    expect((error as Error).message).toMatch(told);
    expect(bed.lost[0]?.message).not.toContain('nothing');
    expect(await keysInOutbox()).toEqual(['k']);
  });

  it('keeps its entry while its record waits', async () => {
    let open!: () => void;
    const opened = new Promise<void>((resolve) => {
      open = resolve;
    });
    const records = { publish: () => opened };
    const redis = await writer({}, { records });
    await bed.target.client.replicaof('127.0.0.1', 1);
    await redis.set('k', 'v');
    while (redis.stats().recording === 0) await new Promise((resolve) => setImmediate(resolve));
    expect(await keysInOutbox()).toEqual(['k']);
    open();
    await untilEmpty();
  });

  it('is taken up by the bridge once when the application ended before it could tell, after the grace', async () => {
    const graceMs = 5_000;
    const redis = await writer({ graceMs }, { timeoutMs: graceMs / 2 });
    const seen: { keys: string[]; at: number }[] = [];
    const intake = createOutboxIntake({
      source: { endpoint: { url: bed.source.url }, name: 'source', links: [bed.names.link] },
      key: STREAM,
      group: 'keymend-bridge',
      putsAside: true,
      async onGap() {},
      logger: pino({ level: 'silent' }),
      async handle({ records, accepted }) {
        const [seconds, micros] = await bed.source.client.time();
        seen.push({ keys: records.map(({ key }) => String(key)), at: Number(seconds) * 1000 + Number(micros) / 1000 });
        for (const record of records) accepted(record);
      },
    });
    intake.start();
    onTestFinished(() => intake.stop());
    await redis.set('mirrored', 'v');
    await untilEmpty();
    bed.link.swallow();
    await redis.set('k', 'v');
    await redis.multi().incr('n').exec();
    const written = Math.max(...(await entries()).map(({ id }) => Number(id.split('-')[0])));
    // Nothing can tell the outbox any more. What the writer does about its failed writes is not
    // looked at.
    bed.sink.broken = true;
    redis.disconnect();
    await eventually(() => expect(seen.flatMap(({ keys }) => keys)).toEqual(['k', 'n']));
    expect(seen.at(-1)!.at).toBeGreaterThanOrEqual(written + graceMs);
    await untilEmpty();
  });
});

describe('an outbox that takes no entries', () => {
  /** What the writer tells of it. */
  function states(redis: DualWriter): unknown[] {
    const told: unknown[] = [];
    redis.on('transactional', (change) => told.push(change));
    return told;
  }

  it('because it is full lets the writes go on without, and says so until there is room', async () => {
    await bed.source.client.xadd(STREAM, '*', 'key', 'k', 'value', 'v');
    const redis = await writer({ maxEntries: 1 });
    const told = states(redis);
    // The bound is looked at with the first entry that is removed.
    await redis.set('k', '0');
    await eventually(() =>
      expect(told).toEqual([{ state: 'suspended', reason: 'keymend:outbox: it has 1 entry or more' }]),
    );
    expect(await redis.set('k', '1')).toBe('OK');
    expect(await redis.multi().set('k', '2').exec()).toEqual([[null, 'OK']]);
    expect(redis.stats().uncovered).toBe(2);
    await bed.source.client.del(STREAM);
    await eventually(() => expect(told).toHaveLength(2));
    expect(told[1]).toEqual({ state: 'active' });
    await redis.set('k', '3');
    expect(redis.stats().uncovered).toBe(2);
    await settled(redis);
    expect(await bed.target.client.get('k')).toBe('3');
  });

  it('or does not say how many it has, for it has no room for a further connection, is not filled beyond its bound', async () => {
    const { client } = bed.source;
    const before = (await client.config('GET', 'maxclients')) as string[];
    const redis = await writer({ maxEntries: 1000 });
    const told = states(redis);
    await client.config('SET', 'maxclients', /connected_clients:(\d+)/.exec(await client.info('clients'))![1]!);
    onTestFinished(async () => void (await client.config('SET', 'maxclients', before[1]!)));
    for (let batch = 0; batch < 10; batch++) {
      const pipeline = redis.pipeline();
      for (let key = 0; key < 500; key++) pipeline.set(`k${key}`, 'v');
      await pipeline.exec();
    }
    const reason = 'keymend:outbox: the source does not say how many entries it has';
    expect(told).toEqual([{ state: 'suspended', reason }]);
    expect(await client.xlen(STREAM)).toBeLessThanOrEqual(2000);
    expect(redis.stats().uncovered).toBeGreaterThanOrEqual(3000);
    await client.config('SET', 'maxclients', before[1]!);
    await eventually(() => expect(told.at(-1)).toEqual({ state: 'active' }));
    await untilEmpty();
  });

  it('is full, and is looked at again also when a look has failed', async () => {
    const { client } = bed.source;
    await client.xadd(STREAM, '*', 'key', 'k', 'value', 'v');
    const redis = await writer({ maxEntries: 1 });
    const told = states(redis);
    await redis.set('k', '0');
    await eventually(() => expect(told).toMatchObject([{ state: 'suspended' }]));
    onTestFinished(async () => void (await client.call('ACL', 'SETUSER', 'default', '+@all')));
    await client.call('ACL', 'SETUSER', 'default', '-xlen');
    const refused = async () =>
      Number(/cmdstat_xlen:.*rejected_calls=(\d+)/.exec(await client.info('commandstats'))?.[1] ?? 0);
    const before = await refused();
    await eventually(async () => expect(await refused()).toBeGreaterThan(before));
    await client.call('ACL', 'SETUSER', 'default', '+xlen');
    await client.del(STREAM);
    await eventually(() => expect(told.at(-1)).toEqual({ state: 'active' }));
  });

  it('because its key is an application’s does the same, and leaves that alone', async () => {
    await bed.source.client.set('orders', 'no stream');
    const redis = await writer({ outbox: 'orders' });
    const told = states(redis);
    expect(await redis.set('k', '1')).toBe('OK');
    expect(await redis.multi().set('k', '2').get('k').exec()).toEqual([
      [null, 'OK'],
      [null, '2'],
    ]);
    expect(told).toEqual([{ state: 'suspended', reason: 'orders: the source answered with the error WRONGTYPE' }]);
    expect(redis.stats().uncovered).toBe(2);
    await settled(redis);
    expect(await bed.target.client.get('k')).toBe('2');
    expect(await bed.source.client.get('orders')).toBe('no stream');
  });

  it('because its key is something else sets that aside and goes on', async () => {
    // Of this writer alone: an earlier one may still have something to remove.
    const outbox = 'keymend:outbox:healed';
    await bed.source.client.set(outbox, 'no stream');
    const redis = await writer({ outbox });
    const told = states(redis);
    await redis.set('k', '1');
    await eventually(async () => {
      await redis.set('k', '2');
      expect(told).toMatchObject([{ state: 'suspended' }, { state: 'active' }]);
    });
    expect(await bed.source.client.keys(`${outbox}:set-aside-*`)).toHaveLength(1);
  });

  it('is told in the open: a listener that throws does not keep a transaction from the target', async () => {
    await bed.source.client.set('orders', 'no stream');
    const redis = await writer({ outbox: 'orders' });
    const others = process.rawListeners('uncaughtException') as NodeJS.UncaughtExceptionListener[];
    process.removeAllListeners('uncaughtException');
    onTestFinished(() => {
      for (const listener of others) process.on('uncaughtException', listener);
    });
    const thrown = new Promise<unknown>((resolve) => process.once('uncaughtException', resolve));
    redis.on('transactional', () => {
      throw new Error('of the listener');
    });
    expect(await redis.multi().set('k', '1').exec()).toEqual([[null, 'OK']]);
    expect(await thrown).toMatchObject({ message: 'of the listener' });
    await settled(redis);
    expect(await bed.target.client.get('k')).toBe('1');
    expect(redis.stats()).toMatchObject({ mirrored: 1 });
  });
});

describe('transactional mode is refused in one line', () => {
  const target = () => new Redis({ lazyConnect: true, host: 'elsewhere', ...mirrorOptions(500) });
  const create = (source: Redis | Cluster, transactional: TransactionalOptions) => () =>
    createDualWriter({
      ...bed.names,
      source,
      target: target(),
      records: new MemorySink(),
      onError() {},
      transactional,
    });

  it.each<[string, () => Redis | Cluster, TransactionalOptions, RegExp]>([
    [
      'on a Cluster',
      () => new Cluster([{ host: '127.0.0.1', port: 1 }], { lazyConnect: true }),
      {},
      /^transactional of the DualWriter is not supported on a Cluster yet; give a source of one server$/,
    ],
    [
      'with a grace that a write can outlive',
      () => new Redis({ lazyConnect: true }),
      { graceMs: 500 },
      /graceMs of the DualWriter is 500: it must be more than the target's commandTimeout \(500\)$/,
    ],
    ['without room', () => new Redis({ lazyConnect: true }), { maxEntries: 0 }, /maxEntries of the DualWriter is 0/],
  ])('%s', (_, source, transactional, message) => {
    expect(create(source(), transactional)).toThrow(message);
  });
});
