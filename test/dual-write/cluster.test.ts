import { Cluster, Command, Redis } from 'ioredis';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it, onTestFinished } from 'vitest';
import { createDualWriter, type DualWriter } from '../../src/dual-write/dual-writer.js';
import { mirrorClusterOptions, mirrorOptions } from '../../src/dual-write/target/mirror-options.js';
import { type RedisCluster, startCluster } from '../support/cluster.js';
import { keysOf } from '../support/keys.js';
import { freePort, type RedisServer, startRedis } from '../support/redis.js';
import { MemorySink, settled } from './bed.js';

const NAMES = { link: 'east-to-west', origin: 'test' };
let east: RedisCluster;
let west: RedisCluster;
let single: RedisServer;
beforeAll(async () => {
  [east, west, single] = await Promise.all([startCluster(), startCluster(), startRedis()]);
});
afterAll(() => Promise.all([east.stop(), west.stop(), single.stop()]));

let sink: MemorySink;
const clients: (Redis | Cluster)[] = [];
beforeEach(() => {
  sink = new MemorySink();
});
afterEach(async () => {
  for (const client of clients.splice(0)) client.disconnect();
  await Promise.all([...east.nodes, ...west.nodes, single].map(({ client }) => client.flushall()));
});

function clusterSource(): Cluster {
  return ready(new Cluster([...east.seeds], { redisOptions: { protocol: 2 } }));
}

function singleClient(options = {}): Redis {
  return ready(new Redis(single.port, '127.0.0.1', { protocol: 2, ...options }));
}

function ready<Client extends Redis | Cluster>(client: Client): Client {
  client.on('error', () => {});
  clients.push(client);
  return client;
}

/** A writer into the cluster `west`, connected to all of its masters. */
async function intoWest<Source extends Redis | Cluster>(source: Source, timeoutMs = 2000): Promise<DualWriter<Source>> {
  const target = ready(new Cluster([...west.seeds], mirrorClusterOptions(timeoutMs)));
  const writer = createDualWriter<Source>({ ...NAMES, source, target, records: sink, onError: () => {} });
  await source.ping();
  await connected(writer);
  return writer;
}

async function connected(writer: Pick<DualWriter, 'stats'>): Promise<void> {
  const missing = () => writer.stats().shards.length < 3 || writer.stats().shards.some((shard) => !shard.connected);
  while (missing()) await new Promise((resolve) => setImmediate(resolve));
}

function slotOf(key: string): number {
  return new Command('GET', [key]).getSlot()!;
}

/** Every key with its content, of all masters. */
async function content(nodes: readonly RedisServer[]): Promise<Record<string, unknown>> {
  const all: [string, unknown][] = [];
  for (const { client } of nodes) {
    for (const key of await keysOf(client)) {
      const type = await client.type(key);
      const read = { list: () => client.lrange(key, 0, -1), set: async () => (await client.smembers(key)).sort() };
      all.push([key, await (read[type as keyof typeof read] ?? (() => client.get(key)))()]);
    }
  }
  return Object.fromEntries(all);
}

/** Writes over all slots, by every way of ioredis; each key's writes depend on their order. */
async function writeALot(writer: DualWriter | DualWriter<Cluster>): Promise<void> {
  const jobs: Promise<unknown>[] = [];
  for (let turn = 0; turn < 400; turn++) {
    const tag = `{${turn % 40}}`;
    jobs.push(writer.append(`log${tag}`, `${turn},`), writer.rpush(`list${tag}`, turn));
    if (turn % 7 === 0) jobs.push(writer.pipeline().append(`log${tag}`, 'p,').incr(`n${tag}`).exec());
    if (turn % 9 === 0) jobs.push(writer.multi().append(`log${tag}`, 'tx,').sadd(`set${tag}`, turn).exec());
    if (turn % 50 === 0) await Promise.all(jobs);
  }
  await Promise.all(jobs);
  await settled(writer);
}

describe('a Cluster as the target', () => {
  it('gets every write at the master of its slot, each key in the order of the replies', async () => {
    const writer = await intoWest(singleClient());
    await writeALot(writer);
    expect(sink.records).toEqual([]);
    const target = await content(west.nodes);
    expect(Object.keys(target).length).toBeGreaterThan(100);
    expect(target).toEqual(await content([single]));
    for (const { client } of west.nodes) expect(await client.dbsize()).toBeGreaterThan(0);
  });

  it('gets of a transaction over several slots each slot’s part; a write over several slots is recorded', async () => {
    const writer = await intoWest(singleClient());
    await writer.multi().set('a', '1').incr('n').rpush('l', 'x').incr('n').exec();
    await settled(writer);
    expect(await content(west.nodes)).toEqual({ a: '1', n: '2', l: ['x'] });
    await writer.mset('a', '2', 'b', '3');
    await settled(writer);
    expect(sink.records.map(({ key, error }) => [key, error?.code])).toEqual([
      ['a', 'CROSSSLOT'],
      ['b', 'CROSSSLOT'],
    ]);
  });

  it('records a write too that lands behind a newer one of its key that lies over several slots', async () => {
    const writer = await intoWest(singleClient(), 30_000);
    const master = west.masterOf(slotOf('a'));
    master.freeze();
    try {
      await writer.set('a', '1');
      await writer.mset('a', '2', 'b', '3');
      await sink.have(2);
    } finally {
      master.thaw();
    }
    await settled(writer);
    expect(sink.records.map(({ key, outcome, error }) => [key, outcome, error?.code])).toEqual([
      ['a', 'refused', 'CROSSSLOT'],
      ['b', 'refused', 'CROSSSLOT'],
      ['a', 'unknown', 'AFTER_FAILURE'],
    ]);
  });

  it('is followed when a slot moves: the write that meets the move is recorded, later ones are mirrored', async () => {
    const writer = await intoWest(singleClient());
    const slot = slotOf('moving');
    await writer.set('moving', '1');
    await settled(writer);
    const to = west.nodes.find((node) => node !== west.masterOf(slot))!;
    await west.moveSlot(slot, to);
    await writer.set('moving', '2');
    await settled(writer);
    expect(sink.records.map(({ key, outcome, error }) => [key, outcome, error?.code])).toEqual([
      ['moving', 'refused', 'MOVED'],
    ]);
    while ((await to.client.get('moving').catch(() => null)) !== '3') await writer.set('moving', '3');
    expect(new Set(sink.records.map(({ key }) => key))).toEqual(new Set(['moving']));
  });

  it('is not asked in the middle of a move: the write is recorded', async () => {
    const writer = await intoWest(singleClient());
    const slot = slotOf('asked');
    await west.startMovingSlot(slot, west.nodes.find((node) => node !== west.masterOf(slot))!);
    await writer.set('asked', '1');
    await settled(writer);
    expect(sink.records.map(({ key, error }) => [key, error?.code])).toEqual([['asked', 'ASK']]);
    for (const { client } of west.nodes) await client.cluster('SETSLOT', slot, 'STABLE');
  });

  it('goes on at the other masters while one does not answer, whose breaker opens and closes again', async () => {
    const writer = await intoWest(singleClient(), 1_000);
    const changes: unknown[] = [];
    const dead = west.masterOf(slotOf('k'));
    const alive = west.nodes.filter((node) => node !== dead);
    const closed = new Promise<void>((resolve) => {
      writer.on('breaker', (change) => {
        changes.push(change);
        if (change.state === 'closed') resolve();
      });
    });
    dead.freeze();
    try {
      while (changes.length === 0) {
        await Promise.all(Array.from({ length: 10 }, () => writer.set('k', 'v')));
        await settled(writer);
      }
      const before = sink.records.length;
      const elsewhere = Array.from({ length: 50 }, (_, index) => `x${index}`).filter((key) =>
        alive.includes(west.masterOf(slotOf(key))),
      );
      for (const key of elsewhere) await writer.set(key, '1');
      await settled(writer);
      expect(sink.records.length).toBe(before);
    } finally {
      dead.thaw();
    }
    await closed;
    const shard = `127.0.0.1:${dead.port}`;
    expect(changes).toEqual([
      { shard, state: 'open', reason: expect.stringMatching('broke|did not answer|no connection') },
      { shard, state: 'closed' },
    ]);
    expect(new Set(sink.records.map(({ key }) => key))).toEqual(new Set(['k']));
    await writer.set('k', 'again');
    await settled(writer);
    expect(await dead.client.get('k')).toBe('again');
  });

  it('gives up what waits for a master that is none any more: recorded as not sent', async () => {
    const target = ready(new Cluster([...west.seeds], mirrorClusterOptions(30_000)));
    const bounds = { inFlight: 1 };
    const writer = createDualWriter({
      ...NAMES,
      source: singleClient(),
      target,
      records: sink,
      bounds,
      onError: () => {},
    });
    await connected(writer);
    const gone = west.masterOf(slotOf('k'));
    const next = west.nodes.find((node) => node !== gone)!;
    gone.freeze();
    try {
      await Promise.all([writer.set('k', '1'), writer.set('{k}2', '2')]);
      while (!writer.stats().shards.some(({ queued }) => queued === 1)) {
        await new Promise((resolve) => setImmediate(resolve));
      }
      const named = (port: number) => `127.0.0.1:${port}`;
      target.slots = target.slots.map((nodes) => (nodes[0] === named(gone.port) ? [named(next.port)] : nodes));
      target.emit('refresh');
      await sink.have(2);
    } finally {
      gone.thaw();
    }
    const { records } = sink;
    const told = records.map(({ key, outcome, error }) => [key, outcome, error?.code, error?.message]);
    expect(told).toEqual([
      ['{k}2', 'refused', 'NOT_CONNECTED', expect.stringContaining('(the Cluster has another master by now)')],
      ['k', 'unknown', 'CONNECTION_LOST', expect.any(String)],
    ]);
  });

  it('that can not be found yet costs a record for each write, and nothing else', async () => {
    const nowhere = ready(new Cluster([{ host: '127.0.0.1', port: await freePort() }], mirrorClusterOptions(200)));
    const writer = createDualWriter({
      ...NAMES,
      source: singleClient(),
      target: nowhere,
      records: sink,
      onError: () => {},
    });
    expect(await writer.set('k', 'v')).toBe('OK');
    const records = await sink.have(1);
    expect(records.map(({ key, outcome, error }) => [key, outcome, error?.code])).toEqual([
      ['k', 'refused', 'NOT_CONNECTED'],
    ]);
    while (writer.stats().shards.length === 0) await new Promise((resolve) => setImmediate(resolve));
    expect(writer.stats().shards).toMatchObject([{ shard: 'the Cluster', connected: false, breaker: 'open' }]);
    expect(await writer.close({ timeoutMs: 500 })).toEqual({ notRecorded: [], unanswered: [] });
    expect(writer.stats().shards).toEqual([]);
  });

  it('that does not let the writer in tells why, as a breaker does, until it lets it in', async () => {
    const credentials = { username: 'writer', password: 'secret' };
    const redisOptions = { ...mirrorOptions(2000), ...credentials };
    const target = ready(new Cluster([...west.seeds], { ...mirrorClusterOptions(2000), redisOptions }));
    const writer = createDualWriter({ ...NAMES, source: singleClient(), target, records: sink, onError: () => {} });
    const changes: unknown[] = [];
    const next = () => new Promise((resolve) => writer.once('breaker', (change) => resolve(changes.push(change))));
    await next();
    const shard = 'the Cluster';
    const refused = expect.stringMatching(/^there was no connection to the target \(WRONGPASS .*\); nothing was sent$/);
    expect(changes).toEqual([{ shard, state: 'open', reason: refused }]);
    expect(writer.stats().shards).toMatchObject([{ shard, connected: false, breaker: 'open' }]);
    await writer.set('k', 'v');
    const [record] = await sink.have(1);
    expect(record?.error).toEqual({ code: 'NOT_CONNECTED', message: refused });

    const closed = next();
    for (const { client } of west.nodes)
      await client.call('ACL', 'SETUSER', 'writer', 'on', '>secret', '~*', '&*', '+@all');
    onTestFinished(async () => {
      target.disconnect();
      for (const { client } of west.nodes) await client.call('ACL', 'DELUSER', 'writer');
    });
    await closed;
    await connected(writer);
    expect(changes).toEqual([expect.anything(), { shard, state: 'closed' }]);
    expect(writer.stats().shards).toHaveLength(3);
    await writer.set('k', 'w');
    await settled(writer);
    expect(await content(west.nodes)).toEqual({ k: 'w' });
  });

  it('is left alone by close, but for the connections that the writer opened', async () => {
    const writer = await intoWest(singleClient());
    await writer.set('k', 'v');
    await writer.close();
    expect(writer.stats().shards).toEqual([]);
    expect(await content(west.nodes)).toEqual({ k: 'v' });
    const target = clients.at(-1) as Cluster;
    expect(target.status).toBe('ready');
  });

  it('must have safe options for the connections to its masters', () => {
    const create = (target: Cluster) =>
      createDualWriter({ ...NAMES, source: singleClient(), target: ready(target), records: sink, onError: () => {} });
    expect(() => create(new Cluster([...west.seeds]))).toThrow(
      /unsafe.*autoResend.*maxRetriesPerRequest.*commandTimeout.*mirrorClusterOptions/,
    );
    expect(() => create(new Cluster([...west.seeds], { ...mirrorClusterOptions(), keyPrefix: 'p:' }))).toThrow(
      /keyPrefix/,
    );
  });
});

describe('a Cluster as the source', () => {
  it('replies as it does alone, and the target Cluster gets every write in order', async () => {
    const writer = await intoWest(clusterSource());
    await writeALot(writer);
    expect(sink.records).toEqual([]);
    const target = await content(west.nodes);
    expect(Object.keys(target).length).toBeGreaterThan(100);
    expect(target).toEqual(await content(east.nodes));
  });

  it('works with scripts, auto-pipelining and a key prefix', async () => {
    const options = { keyPrefix: 'app:', enableAutoPipelining: true, redisOptions: { protocol: 2 as const } };
    const writer = await intoWest(ready(new Cluster([...east.seeds], options)));
    writer.defineCommand('put', { numberOfKeys: 1, lua: "return redis.call('SET', KEYS[1], ARGV[1])" });
    const put = (writer as unknown as { put(key: string, value: string): Promise<string> }).put.bind(writer);
    const replies = await Promise.all([
      ...Array.from({ length: 30 }, (_, index) => writer.incr(`n${index % 10}`)),
      put('script', 'v'),
    ]);
    expect(replies.slice(20)).toEqual([...Array.from({ length: 10 }, () => 3), 'OK']);
    await settled(writer);
    expect(sink.records.map(({ key, error }) => [key, error?.code])).toEqual([['app:script', 'NOT_MIRRORED']]);
    const { 'app:script': _, ...mirrored } = await content(east.nodes);
    expect(Object.keys(mirrored)).toHaveLength(10);
    expect(await content(west.nodes)).toEqual(mirrored);
  });

  it('mirrors into a single Redis as well', async () => {
    const source = clusterSource();
    const target = singleClient(mirrorOptions(2000));
    const writer = createDualWriter({ ...NAMES, source, target, records: sink, onError: () => {} });
    await Promise.all([source.ping(), new Promise((resolve) => target.once('ready', resolve))]);
    await writeALot(writer);
    expect(sink.records).toEqual([]);
    expect(await content([single])).toEqual(await content(east.nodes));
  });

  it('keeps the errors of a Cluster: keys of one command in several slots are refused and not mirrored', async () => {
    const writer = await intoWest(clusterSource());
    await expect(writer.mset('a', '1', 'b', '2')).rejects.toThrow(/CROSSSLOT/);
    await expect(writer.pipeline().mset('a', '1', 'b', '2').exec()).rejects.toThrow(/same slot/);
    await settled(writer);
    expect(sink.records).toEqual([]);
    expect(await content(west.nodes)).toEqual({});
  });

  it('has a transaction at one master, while another one answers a value that reads QUEUED', async () => {
    const writer = await intoWest(clusterSource());
    const elsewhere = ['b', 'c', 'd'].find((key) => east.masterOf(slotOf(key)) !== east.masterOf(slotOf('a')))!;
    await writer.set(elsewhere, 'QUEUED');
    await writer.pipeline().call('MULTI').set('a', '1').exec();
    expect(await writer.getset(elsewhere, 'new')).toBe('QUEUED');
    await settled(writer);
    expect(await content(west.nodes)).toEqual({ [elsewhere]: 'new' });
    expect(writer.stats().unanswered).toBe(1);
    await writer.pipeline().get('a').call('EXEC').exec();
    await settled(writer);
    expect(await content(west.nodes)).toEqual({ a: '1', [elsewhere]: 'new' });
    expect(sink.records).toEqual([]);
    expect(writer.stats().unanswered).toBe(0);
  });

  it('loses nothing while a slot moves under it', async () => {
    const writer = await intoWest(clusterSource());
    const slot = slotOf('{hot}');
    const to = east.nodes.find((node) => node !== east.masterOf(slot))!;
    const jobs: Promise<unknown>[] = [];
    let moving = true;
    const moved = east.moveSlot(slot, to).finally(() => {
      moving = false;
    });
    for (let turn = 0; moving || turn < 200; turn++) {
      jobs.push(writer.set(`{hot}${turn % 20}`, turn));
      await new Promise((resolve) => setImmediate(resolve));
    }
    await moved;
    await Promise.all(jobs);
    await settled(writer);
    const recorded = new Set(sink.records.map(({ key }) => key));
    const [source, target] = await Promise.all([content(east.nodes), content(west.nodes)]);
    expect(Object.keys(source)).toHaveLength(20);
    for (const key of Object.keys(source))
      if (!recorded.has(key)) expect([key, target[key]]).toEqual([key, source[key]]);
  });
});
