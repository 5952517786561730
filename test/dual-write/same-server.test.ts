/** A target that is the source under another name: every write would be done twice. */
import { Cluster, Redis, type RedisOptions } from 'ioredis';
import { describe, expect, it, onTestFinished } from 'vitest';
import { type BreakerChange, createDualWriter } from '../../src/dual-write/dual-writer.js';
import { mirrorOptions } from '../../src/dual-write/target/mirror-options.js';
import { startCluster } from '../support/cluster.js';
import { type RedisServer, startRedis } from '../support/redis.js';
import { MemorySink, settled } from './bed.js';

async function started(): Promise<RedisServer> {
  const server = await startRedis();
  onTestFinished(() => server.stop());
  return server;
}

function connected<Client extends Redis | Cluster>(client: Client): Promise<Client> {
  client.on('error', () => {});
  onTestFinished(() => client.disconnect());
  return new Promise((resolve) => client.once('ready', () => resolve(client)));
}

function connect(options: RedisOptions): Promise<Redis> {
  return connected(new Redis({ retryStrategy: () => 10, ...options, replyMapping: 'legacy' }));
}

function createWriter(source: Redis | Cluster, target: Redis) {
  const sink = new MemorySink();
  const breakers: BreakerChange[] = [];
  const writer = createDualWriter({
    link: 'east-to-west',
    origin: 'test',
    source: source as Redis,
    target,
    records: sink,
    onError: (error) => expect.unreachable(error.message),
  });
  writer.on('breaker', (change) => breakers.push(change));
  onTestFinished(async () => void (await writer.close({ timeoutMs: 1000 })));
  return { writer, sink, breakers };
}

const REASON = 'there was no connection to the target (it is the source); nothing was sent';

describe('a target that is the source under another name', () => {
  it('gets no write, which each become a record, and the breaker says why', async () => {
    const { port, client } = await started();
    const target = await connect({ ...mirrorOptions(2000), host: 'localhost', port });
    const { writer, sink, breakers } = createWriter(await connect({ host: '127.0.0.1', port }), target);
    let written = 0;
    while (breakers.length === 0) {
      await writer.incr('counter');
      written += 1;
    }
    await settled(writer);
    expect(await client.get('counter')).toBe(`${written}`);
    expect(writer.stats().mirrored).toBe(0);
    expect(sink.records[0]).toMatchObject({
      key: 'counter',
      outcome: 'refused',
      error: { code: 'NOT_CONNECTED', message: REASON },
    });
    expect(breakers).toEqual([{ shard: `localhost:${port}`, state: 'open', reason: REASON }]);
  });

  it('is found out again when it is connected to anew', async () => {
    const { port, client } = await started();
    const target = await connect({ ...mirrorOptions(2000), host: 'localhost', port });
    const { writer } = createWriter(await connect({ host: '127.0.0.1', port }), target);
    let connections = 0;
    target.on('ready', () => {
      connections += 1;
    });
    let written = 0;
    while (connections < 3) {
      await writer.incr('counter');
      written += 1;
    }
    await settled(writer);
    expect(await client.get('counter')).toBe(`${written}`);
  });

  it('is found out when it is a node of a Cluster that is the source', async () => {
    const cluster = await startCluster(2);
    onTestFinished(() => cluster.stop());
    const source = await connected(new Cluster([...cluster.seeds]));
    const [node] = cluster.nodes;
    const target = await connect({ ...mirrorOptions(2000), host: 'localhost', port: node!.port });
    const { writer } = createWriter(source, target);
    const keys = Array.from({ length: 30 }, (_, index) => `k${index}`);
    for (const key of keys) await writer.incr(key);
    await settled(writer);
    expect(writer.stats().mirrored).toBe(0);
    expect(await Promise.all(keys.map((key) => cluster.client.get(key)))).toEqual(keys.map(() => '1'));
  });

  it('is a target like any other in another database', async () => {
    const { port, client } = await started();
    const target = new Redis({ ...mirrorOptions(2000), host: 'localhost', port, db: 1, lazyConnect: true });
    const { writer } = createWriter(await connect({ host: '127.0.0.1', port }), target);
    await connected(target);
    await writer.incr('counter');
    await settled(writer);
    expect(writer.stats()).toMatchObject({ mirrored: 1, recorded: 0 });
    await client.select(1);
    expect(await client.get('counter')).toBe('1');
  });
});

it('a breaker that opens says why there is no connection, such as a wrong password', async () => {
  const [source, target] = await Promise.all([started(), started()]);
  await target.client.config('SET', 'requirepass', 'right');
  const options = { ...mirrorOptions(2000), password: 'wrong', retryStrategy: () => 10, lazyConnect: true };
  const wrong = new Redis(target.port, options);
  onTestFinished(() => wrong.disconnect());
  const { writer, breakers } = createWriter(await connect({ port: source.port }), wrong);
  await new Promise((resolve) => wrong.once('close', resolve));
  while (breakers.length === 0) {
    await writer.set('k', 'v');
    await settled(writer);
  }
  expect(breakers[0]!.reason).toBe('there was no connection to the target (WRONGPASS); nothing was sent');
});
