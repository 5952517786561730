/**
 * A source client that the application ends while it waits to connect anew: ioredis settles nothing
 * of what it has and emits no event.
 */
import { Cluster, Redis } from 'ioredis';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { createDualWriter, type DualWriter } from '../../src/dual-write/dual-writer.js';
import { mirrorOptions } from '../../src/dual-write/target/mirror-options.js';
import { type FaultProxy, startProxy } from '../../src/stack/proxy.js';
import { eventually } from '../support/eventually.js';
import { type RedisServer, startRedis } from '../support/redis.js';
import { type Bed, settled, startBed } from './bed.js';

let bed: Bed;
/** A Cluster of one. */
let node: RedisServer;
beforeAll(async () => {
  [bed, node] = await Promise.all([
    startBed(),
    startRedis(['--cluster-enabled', 'yes', '--cluster-announce-ip', '127.0.0.1']),
  ]);
  await node.client.call('CLUSTER', 'ADDSLOTS', ...Array.from({ length: 16_384 }, (_, slot) => slot));
  await eventually(async () => expect(await node.client.call('CLUSTER', 'INFO')).toMatch(/cluster_state:ok/));
});
afterAll(() => Promise.all([bed.stop(), node.stop()]));

let link: FaultProxy;
const clients: (Redis | Cluster)[] = [];
beforeEach(async () => {
  link = await startProxy({ target: { host: '127.0.0.1', port: bed.source.port } });
});
afterEach(async () => {
  for (const client of clients.splice(0)) client.disconnect();
  await Promise.all([bed.reset(), link.close()]);
});

/** Nothing connects by itself once the connection is lost. */
const never = () => 3_600_000;

type Source = Redis | Cluster;

interface Ended {
  readonly source: Source;
  readonly writer: DualWriter<Source>;
}

async function writerOf(source: Source): Promise<Ended> {
  const target = new Redis(bed.target.port, '127.0.0.1', mirrorOptions(2000));
  clients.push(source, target);
  source.on('error', () => {});
  const writer = createDualWriter<Source>({ ...bed.names, source, target, records: bed.sink, onError() {} });
  await Promise.all([source, target].map((client) => new Promise<void>((resolve) => client.once('ready', resolve))));
  return { source, writer };
}

/** Has sent three writes that the source did not answer, and waits to connect anew. */
async function waiting({ source, writer }: Ended, way: FaultProxy): Promise<void> {
  await writer.ping();
  way.swallow();
  for (const key of ['k0', 'k1', 'k2']) writer.set(key, '1').catch(() => {});
  await new Promise((resolve) => setImmediate(resolve));
  const waits = new Promise<void>((resolve) => source.once('reconnecting', () => resolve()));
  way.cut();
  await waits;
}

function leaveUnsent(writer: DualWriter<Source>): DualWriter<Source> {
  writer.set('unsent', '1').catch(() => {});
  return writer;
}

async function expectWritten(writer: DualWriter<Source>): Promise<void> {
  await bed.sink.have(3);
  const told = bed.sink.records.map(({ key, outcome, error }) => [key, outcome, error?.code]);
  expect(told).toEqual(['k0', 'k1', 'k2'].map((key) => [key, 'unknown', 'SOURCE_UNKNOWN']));
  expect(writer.stats().unanswered).toBe(0);
  // Far beyond the time that a test may take.
  expect(await writer.close({ timeoutMs: 600_000 })).toEqual({ notRecorded: [], unanswered: [] });
  expect(bed.sink.records).toHaveLength(3);
}

const single = () => writerOf(new Redis(link.port, '127.0.0.1', { protocol: 2, retryStrategy: never }));

describe('a source client that is ended while it waits to connect anew', () => {
  it.each<[string, (ended: Ended) => unknown]>([
    ['disconnect()', ({ writer }) => writer.disconnect()],
    ['quit()', ({ writer }) => writer.quit()],
    ['disconnect() past the writer', ({ source }) => source.disconnect()],
    ['disconnect() with a write that was never sent', ({ writer }) => leaveUnsent(writer).disconnect()],
  ])('by %s has all recorded that it had sent', async (_, end) => {
    const ended = await single();
    await waiting(ended, link);
    await end(ended);
    await expectWritten(ended.writer);
  });

  it.each<[string, (ended: Ended) => unknown]>([
    ['disconnect()', ({ writer }) => writer.disconnect()],
    ['quit()', ({ writer }) => writer.quit()],
  ])('by %s has all recorded that it had sent, also where it is a Cluster', async (_, end) => {
    const way = await startProxy({ target: { host: '127.0.0.1', port: node.port } });
    try {
      const seed = { host: '127.0.0.1', port: way.port };
      const options = { natMap: () => seed, clusterRetryStrategy: never, redisOptions: { protocol: 2 as const } };
      const ended = await writerOf(new Cluster([seed], options));
      await waiting(ended, way);
      await end(ended);
      await expectWritten(ended.writer);
    } finally {
      await way.close();
    }
  });

  it('goes on when it is connected again: what it then sends is awaited, and mirrored', async () => {
    const ended = await single();
    const { writer } = ended;
    await waiting(ended, link);
    leaveUnsent(writer).disconnect();
    expect(writer.stats().unanswered).toBe(0);
    link.restore();
    await bed.source.client.call('CLIENT', 'PAUSE', 60_000, 'WRITE');
    await writer.connect();
    await eventually(() => expect(writer.stats().unanswered).toBe(4));
    await bed.source.client.call('CLIENT', 'UNPAUSE');
    await eventually(async () => expect(await bed.source.client.exists('k0', 'k1', 'k2', 'unsent')).toBe(4));
    await eventually(() => expect(writer.stats()).toMatchObject({ unanswered: 0, mirrored: 4 }));
    await settled(writer);
    expect(await bed.target.client.exists('k0', 'k1', 'k2', 'unsent')).toBe(4);
  });
});
