/**
 * Source and target behind Sentinels: what a failover of either costs, and what of it the records
 * know.
 */
import { once } from 'node:events';
import { type AddressInfo, createServer, type Socket } from 'node:net';
import { setImmediate, setTimeout as sleep } from 'node:timers/promises';
import { Redis, type RedisOptions } from 'ioredis';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { createDualWriter, type DualWriter } from '../../src/dual-write/dual-writer.js';
import { mirrorOptions } from '../../src/dual-write/target/mirror-options.js';
import { type RedisServer, startRedis } from '../support/redis.js';
import { FAILOVERS, type SentinelGroup, startSentinelGroup } from '../support/sentinel.js';
import { MemorySink, settled } from './bed.js';
import { isBefore, Load } from './load.js';
import { differing, expectEqualAfterRepair, swept } from './repair.js';

/** A master that its replica has left refuses writes, which would be lost with it. */
const REFUSE_WITHOUT_REPLICA = ['--min-replicas-to-write', '1'];

const NAMES = { link: 'east-to-west', origin: 'test' };

const cleanups: (() => unknown)[] = [];
let sink: MemorySink;
beforeEach(() => {
  sink = new MemorySink();
});
afterEach(async () => {
  for (const cleanup of cleanups.splice(0).reverse()) await cleanup();
});

async function group(name: string, extra: readonly string[] = []): Promise<SentinelGroup> {
  const started = await startSentinelGroup(name, extra);
  cleanups.push(() => started.stop());
  return started;
}

async function single(): Promise<RedisServer> {
  const started = await startRedis();
  cleanups.push(() => started.stop());
  return started;
}

async function connect(options: RedisOptions): Promise<Redis> {
  const client = new Redis({ ...options, replyMapping: 'legacy' });
  client.on('error', () => {});
  cleanups.push(() => client.disconnect());
  await ready(client);
  return client;
}

/** Not `once` of node:events, which gives up at the first error: a client goes on trying. */
function ready(client: Redis): Promise<void> {
  return new Promise((resolve) => client.once('ready', () => resolve()));
}

async function connectedTo(client: Redis, { port }: RedisServer): Promise<void> {
  while (client.status !== 'ready' || (client.stream as Socket).remotePort !== port) await sleep(5);
}

function behind({ name, sentinels }: SentinelGroup): RedisOptions {
  return { sentinels: [...sentinels], name };
}

async function connectTo(server: RedisServer, options: RedisOptions = {}): Promise<Redis> {
  return connect({ port: server.port, host: '127.0.0.1', ...options });
}

async function connectMirror(target: SentinelGroup): Promise<Redis> {
  return connect({ ...mirrorOptions(500), ...behind(target), retryStrategy: () => 20 });
}

function createWriter(source: Redis, target: Redis): DualWriter {
  const writer = createDualWriter({
    ...NAMES,
    source,
    target,
    records: sink,
    onError: (error) => expect.unreachable(error.message),
    breaker: { minProbeMs: 20, maxProbeMs: 100 },
  });
  cleanups.push(() => writer.close({ timeoutMs: 1000 }));
  return writer;
}

/** The keys that differ and have no record. */
async function unrecorded(source: RedisServer, target: RedisServer): Promise<string[]> {
  const recorded = new Set(sink.records.map(({ key }) => key));
  return (await differing({ source, target })).filter((key) => !recorded.has(key));
}

function codes(): Set<string | undefined> {
  return new Set(sink.records.map(({ error }) => error?.code));
}

async function killBesideFrozenSentinel(of: SentinelGroup): Promise<void> {
  of.freezeSentinel(0);
  await of.killMaster();
}

describe('a target behind Sentinels', () => {
  /**
   * Writes before, during and after a failover.
   * @returns the keys that differ, no record tells of, and when it was over
   */
  async function failOverUnderLoad(west: SentinelGroup, failOver: (of: SentinelGroup) => Promise<void>) {
    const source = await single();
    const target = await connectMirror(west);
    const writer = createWriter(await connectTo(source), target);
    for (let index = 0; index < 500; index++) await writer.set(`before${index}`, 'v');
    await settled(writer);
    await west.replicated();
    const load = new Load(writer);
    await load.more(200);
    await failOver(west);
    await connectedTo(target, west.master);
    const firstAfter = load.written;
    await load.more(200);
    await load.stop();
    await settled(writer);
    expect(load.failed).toEqual([]);
    // Each write was acknowledged by a target, old or new, or it is recorded.
    expect(writer.stats()).toMatchObject({ mirrored: 500 + load.written - sink.records.length, lost: 0 });
    // Where there was no other replica, none takes the place of the new master.
    await west.master.client.config('SET', 'min-replicas-to-write', '0');
    const missing = await unrecorded(source, west.master);
    await expectEqualAfterRepair({ source, target: west.master }, [...sink.records, ...swept(missing)]);
    return { missing, firstAfter };
  }

  it.each<(typeof FAILOVERS)[number]>([
    ...FAILOVERS,
    // So ioredis is most likely just asking for the master when the others announce it.
    ['because the master was killed, and a sentinel is frozen', killBesideFrozenSentinel],
  ])('is followed, %s: only what the old master alone acknowledged is unknown', async (_, failOver) => {
    const { missing, firstAfter } = await failOverUnderLoad(await group('west'), failOver);
    // Neither what was replicated before nor what went to the new master.
    expect(missing.filter((key) => !isBefore(firstAfter)(key))).toEqual([]);
  });

  it('with min-replicas-to-write refuses what would be lost, and that is recorded', async () => {
    const west = await group('west', REFUSE_WITHOUT_REPLICA);
    const { missing } = await failOverUnderLoad(west, (of) => of.failover());
    expect(codes()).toContain('NOREPLICAS');
    // What was just on its way to the replica; without the setting, the writes of seconds.
    expect(missing.length).toBeLessThan(50);
  });

  it('is followed when a demoted master answers READONLY, even while sentinels are frozen', async () => {
    const [source, west] = await Promise.all([single(), group('west')]);
    const target = await connectMirror(west);
    const writer = createWriter(await connectTo(source), target);
    const reconnected = ready(target);
    west.freezeSentinel(0);
    west.freezeSentinel(1);
    await west.swapByHand();
    await writer.multi().set('k', 'v').incr('n').exec();
    await reconnected;
    expect(sink.records.map(({ key, outcome, error }) => [key, outcome, error?.code])).toEqual([
      ['k', 'refused', 'READONLY'],
      ['n', 'refused', 'READONLY'],
    ]);
    await writer.set('after', 'v');
    await settled(writer);
    expect(sink.records).toHaveLength(2);
    await expectEqualAfterRepair({ source, target: west.master }, sink.records);
  });
});

describe('a source behind Sentinels', () => {
  it.each<[...(typeof FAILOVERS)[number], RedisOptions]>([
    // Else ioredis stays with the old master until that is demoted.
    [...FAILOVERS[0]!, { failoverDetector: true }],
    [...FAILOVERS[1]!, {}],
  ])('may fail over, %s: what it left unanswered is recorded, and later writes go on', async (_, failOver, options) => {
    const [east, target] = await Promise.all([group('east'), single()]);
    const source = await connect({ ...behind(east), ...options, maxRetriesPerRequest: 0 });
    const writer = createWriter(source, await connectTo(target, mirrorOptions(2000)));
    await writer.set('before', 'v');
    await east.replicated();
    const load = new Load(writer);
    await load.more(200);
    await east.master.client.call('CLIENT', 'PAUSE', '600000', 'WRITE');
    await load.stuck();
    await failOver(east);
    await connectedTo(source, east.master);
    const firstAfter = load.written;
    await load.more(200);
    await load.stop();
    await settled(writer);
    expect(codes()).toEqual(new Set(['SOURCE_UNKNOWN']));
    // No other write failed but those, and those that were never sent.
    const recorded = new Set(sink.records.map(({ key }) => key));
    expect([...recorded].filter((key) => !load.failed.includes(key))).toEqual([]);
    const unsent = load.failed.filter((key) => !recorded.has(key));
    expect(await target.client.exists('none', ...unsent)).toBe(0);
    expect(writer.stats().mirrored).toBe(1 + load.written - load.failed.length);
    // What the old source alone had, it has told the target.
    const missing = await unrecorded(east.master, target);
    expect(missing.filter((key) => !isBefore(firstAfter)(key))).toEqual([]);
    await expectEqualAfterRepair({ source: east.master, target }, [...sink.records, ...swept(missing)]);
  });
});

it('a target client that the application closes while the sentinels are asked stays closed', async () => {
  const silent = createServer().listen(0, '127.0.0.1');
  await once(silent, 'listening');
  const { port } = silent.address() as AddressInfo;
  const source = await connectTo(await single());
  const target = new Redis({ ...mirrorOptions(500), sentinels: [{ host: '127.0.0.1', port }], name: 'west' });
  const writer = createWriter(source, target);
  await once(silent, 'connection');
  const ended = once(target, 'end');
  target.disconnect();
  await ended;
  await setImmediate();
  await setImmediate();
  expect(target.status).toBe('end');
  await writer.close();
  silent.close();
});
