/** A target that fails over to its replica: a Cluster, or a server that is known by name. */
import { Cluster, Command, Redis } from 'ioredis';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { createDualWriter, type DualWriter } from '../../src/dual-write/dual-writer.js';
import { mirrorClusterOptions, mirrorOptions } from '../../src/dual-write/target/mirror-options.js';
import { startProxy } from '../../src/stack/proxy.js';
import { type RedisCluster, startCluster } from '../support/cluster.js';
import { keysOf } from '../support/keys.js';
import { type RedisServer, startRedis } from '../support/redis.js';
import { replicated } from '../support/replication.js';
import { MemorySink, settled } from './bed.js';
import { isBefore, Load } from './load.js';
import { differing, expectEqualAfterRepair, repair, swept } from './repair.js';

const cleanups: (() => unknown)[] = [];
let sink: MemorySink;
beforeEach(() => {
  sink = new MemorySink();
});
afterEach(async () => {
  for (const cleanup of cleanups.splice(0).reverse()) await cleanup();
});

async function stopped<Server extends { stop(): Promise<void> }>(starting: Promise<Server>): Promise<Server> {
  const server = await starting;
  cleanups.push(() => server.stop());
  return server;
}

function createWriter(source: RedisServer, target: Redis | Cluster): DualWriter {
  const sourceClient = new Redis(source.port, '127.0.0.1');
  for (const client of [sourceClient, target]) {
    client.on('error', () => {});
    cleanups.push(() => client.disconnect());
  }
  const writer = createDualWriter({
    link: 'east-to-west',
    origin: 'test',
    source: sourceClient,
    target,
    records: sink,
    onError: (error) => expect.unreachable(error.message),
    breaker: { minProbeMs: 20, maxProbeMs: 100 },
  });
  cleanups.push(() => writer.close({ timeoutMs: 1000 }));
  return writer;
}

function slotOf(key: string): number {
  return new Command('GET', [key]).getSlot()!;
}

/** Waits until writes reach them. */
async function connected(writer: DualWriter, shards: readonly RedisServer[]): Promise<void> {
  const present = () => writer.stats().shards.filter((shard) => shard.connected && shard.breaker === 'closed');
  const names = shards.map(({ port }) => `127.0.0.1:${port}`);
  while (!names.every((name) => present().some(({ shard }) => shard === name))) {
    await new Promise((resolve) => setImmediate(resolve));
  }
}

describe('a Cluster whose master fails over under load', () => {
  let source: RedisServer;
  let west: RedisCluster;
  let copy: RedisServer;
  beforeEach(async () => {
    [source, west, copy] = await Promise.all([
      stopped(startRedis()),
      stopped(startCluster(3, { replicas: true })),
      stopped(startRedis()),
    ]);
  });

  const SLOT = slotOf('failing');
  const ALL_SLOTS = Array.from({ length: 16_384 }, (_, slot) => slot);
  const masters = () => [...new Set(ALL_SLOTS.map((slot) => west.masterOf(slot)))];

  /** All masters' keys in one server, to be compared with the one source. */
  async function targetInOne(): Promise<RedisServer> {
    await copy.client.flushall();
    for (const { client } of masters()) {
      const keys = await keysOf(client);
      await Promise.all(keys.map(async (key) => copy.client.restore(key, 0, await client.dumpBuffer(key))));
    }
    return copy;
  }

  /** Each key on the master of its slot. */
  async function repairAll(records: typeof sink.records): Promise<void> {
    for (const target of masters()) {
      const ofMaster = records.filter(({ key }) => west.masterOf(slotOf(key)) === target);
      await repair({ source, target }, ofMaster);
    }
  }

  async function failOverUnderLoad(failOver: () => Promise<void>) {
    const writer = createWriter(source, new Cluster([...west.seeds], mirrorClusterOptions(500)));
    const breakers = new Map<string, string>();
    writer.on('breaker', ({ shard, state }) => breakers.set(shard, state));
    await connected(writer, masters());
    for (let index = 0; index < 300; index++) await writer.set(`before${index}`, 'v');
    await settled(writer);
    await Promise.all(masters().map(replicated));
    const before = west.masterOf(SLOT);
    const belongsToIt = new Set(ALL_SLOTS.filter((slot) => west.masterOf(slot) === before));
    const load = new Load(writer);
    await load.more(200);
    await failOver();
    await connected(writer, masters());
    const firstAfter = load.written;
    await load.more(300);
    await load.stop();
    await settled(writer);
    expect(load.failed).toEqual([]);
    // That of a master that is gone, too.
    expect([...breakers.values()]).not.toContain('open');
    expect(writer.stats()).toMatchObject({ mirrored: 300 + load.written - sink.records.length, lost: 0 });
    const inBetween = isBefore(firstAfter);
    expect(sink.records.filter(({ key }) => !inBetween(key))).toEqual([]);
    const recorded = new Set(sink.records.map(({ key }) => key));
    const missing = (await differing({ source, target: await targetInOne() })).filter((key) => !recorded.has(key));
    await repairAll([...sink.records, ...swept(missing)]);
    await expectEqualAfterRepair({ source, target: await targetInOne() }, []);
    return { missing, mayBeMissing: (key: string) => belongsToIt.has(slotOf(key)) && inBetween(key) };
  }

  it('by CLUSTER FAILOVER lacks nothing but what is recorded', async () => {
    const { missing } = await failOverUnderLoad(() => west.failOver(SLOT));
    expect(missing).toEqual([]);
    expect(new Set(sink.records.map(({ error }) => error?.code))).toContain('MOVED');
  });

  it('by the death of the master lacks, without a record, at most what that alone had acknowledged', async () => {
    const { missing, mayBeMissing } = await failOverUnderLoad(() => west.killMaster(SLOT));
    expect(missing.filter((key) => !mayBeMissing(key))).toEqual([]);
    expect(sink.records.length).toBeGreaterThan(0);
  });
});

it('a server that is known by name is connected to anew when it answers READONLY: the name may lead elsewhere', async () => {
  const [source, first, second] = await Promise.all([1, 2, 3].map(() => stopped(startRedis())));
  const place = { host: '127.0.0.1', port: first!.port };
  const name = await startProxy({ target: place });
  cleanups.push(() => name.close());
  const target = new Redis({ ...mirrorOptions(2000), host: 'localhost', family: 4, port: name.port });
  const ready = () => new Promise<void>((resolve) => target.once('ready', () => resolve()));
  const writer = createWriter(source!, target);
  await ready();
  await second!.client.replicaof('127.0.0.1', first!.port);
  await writer.set('before', 'v');
  await settled(writer);
  await replicated(first!);
  const reconnected = ready();
  await second!.client.replicaof('NO', 'ONE');
  await first!.client.replicaof('127.0.0.1', second!.port);
  place.port = second!.port;
  await writer.set('k', 'v');
  await reconnected;
  expect(sink.records.map(({ key, error }) => [key, error?.code])).toEqual([['k', 'READONLY']]);
  await writer.set('after', 'v');
  await settled(writer);
  expect(sink.records).toHaveLength(1);
  await expectEqualAfterRepair({ source: source!, target: second! }, sink.records);
});

describe('a replica behind a name', () => {
  // What tells how long it stays; all else takes its time.
  beforeEach(() => {
    vi.useFakeTimers({ toFake: ['performance'] });
  });
  afterEach(() => {
    vi.useRealTimers();
  });

  /** A writer to a server by its name, and how often the client connected to it. */
  async function named() {
    const [source, server] = await Promise.all([stopped(startRedis()), stopped(startRedis())]);
    const options = { ...mirrorOptions(2000), host: 'localhost', family: 4, port: server.port };
    const target = new Redis({ ...options, retryStrategy: () => 5 });
    let connections = 0;
    target.on('ready', () => {
      connections += 1;
    });
    const writer = createWriter(source, target);
    const isReady = async () => {
      while (target.status !== 'ready' || !target.stream.writable)
        await new Promise((resolve) => setImmediate(resolve));
    };
    await isReady();
    /** @returns how often it was left, once it answered many writes */
    async function leftDuringWrites(): Promise<number> {
      const before = connections;
      for (let round = 0; round < 20; round++) {
        await writer.set('k', 'v');
        await settled(writer);
        await isReady();
      }
      return connections - before;
    }
    return { server, leftDuringWrites };
  }

  it('is left at once, and ever more rarely where it stays one', async () => {
    const { server, leftDuringWrites } = await named();
    await server.client.replicaof('127.0.0.1', 1);
    const left: number[] = [];
    for (let second = 0; second < 16; second++) {
      left.push(await leftDuringWrites());
      vi.advanceTimersByTime(1000);
    }
    expect(left).toEqual([1, 1, 0, 1, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 1]);
    vi.advanceTimersByTime(60_000);
    expect(await leftDuringWrites()).toBe(1);
    vi.advanceTimersByTime(29_999);
    expect(await leftDuringWrites()).toBe(0);
    vi.advanceTimersByTime(1);
    expect(await leftDuringWrites()).toBe(1);
  });

  it('is left soon again after it was a master in between', async () => {
    const { server, leftDuringWrites } = await named();
    for (let second = 0; second < 8; second++) {
      await server.client.replicaof('127.0.0.1', 1);
      expect(await leftDuringWrites()).toBe(1);
      await server.client.replicaof('NO', 'ONE');
      expect(await leftDuringWrites()).toBe(0);
      vi.advanceTimersByTime(1000);
    }
  });
});
