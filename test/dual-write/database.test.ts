/**
 * A target of which the client may not use the database that it was given: nothing may land in
 * another.
 */
import { Redis, type RedisOptions } from 'ioredis';
import { describe, expect, it, onTestFinished } from 'vitest';
import { createDualWriter, type DualWriter } from '../../src/dual-write/dual-writer.js';
import { mirrorOptions } from '../../src/dual-write/target/mirror-options.js';
import { type RedisServer, startRedis } from '../support/redis.js';
import { startSentinelGroup } from '../support/sentinel.js';
import { MemorySink, settled } from './bed.js';

async function started(extra: readonly string[] = []): Promise<RedisServer> {
  const server = await startRedis(extra);
  onTestFinished(() => server.stop());
  return server;
}

function connect(options: RedisOptions): Redis {
  const client = new Redis({ host: '127.0.0.1', ...options, replyMapping: 'legacy' });
  client.on('error', () => {});
  onTestFinished(() => client.disconnect());
  return client;
}

async function createWriter(target: Redis): Promise<{ writer: DualWriter; sink: MemorySink }> {
  const source = await started();
  const sink = new MemorySink();
  const writer = createDualWriter({
    link: 'east-to-west',
    origin: 'test',
    source: connect({ port: source.port }),
    target,
    records: sink,
    onError: (error) => expect.unreachable(error.message),
    // Each record says why.
    breaker: { failures: 1_000_000 },
  });
  onTestFinished(async () => void (await writer.close({ timeoutMs: 1000 })));
  return { writer, sink };
}

function targetOptions({ port }: RedisServer): RedisOptions {
  return { ...mirrorOptions(2000), port, db: 2, retryStrategy: () => 5 };
}

/** Writes while the target is connected to several times. */
async function writeOverAttempts(writer: DualWriter, target: Redis): Promise<number> {
  let attempts = 0;
  target.on('close', () => {
    attempts += 1;
  });
  let written = 0;
  for (; attempts < 5 && written < 2_000; written++) {
    await writer.set(`k${written % 100}`, 'of the source');
    await new Promise((resolve) => setImmediate(resolve));
  }
  await settled(writer);
  return written;
}

function errorsIn({ records }: MemorySink): Set<string> {
  return new Set(records.map(({ outcome, error }) => `${outcome} ${error?.code} ${error?.message}`));
}

describe('a target that refuses the database', () => {
  it.each([
    ['because it has only one', ['--databases', '1'], {}, 'ERR'],
    ['to the user', ['--user', 'mirror', 'on', '>secret', '~*', '+@all', '-select'], { username: 'mirror' }, 'NOPERM'],
    [
      'to the user, who may not ask for INFO either',
      ['--user', 'mirror', 'on', '>secret', '~*', '+@all', '-select', '-info'],
      { username: 'mirror' },
      'NOPERM',
    ],
    ['without a check whether it is ready', ['--databases', '1'], { enableReadyCheck: false }, 'ERR'],
    ['in RESP3', ['--databases', '1'], { protocol: 3 }, 'ERR'],
  ] as const)('%s gets nothing, and each write has a record that says so', async (_, extra, options, code) => {
    const server = await started(extra);
    await server.client.set('k0', 'of another application');
    const login = 'username' in options ? { password: 'secret' } : {};
    const target = connect({ ...targetOptions(server), ...options, ...login });
    const { writer, sink } = await createWriter(target);
    const written = await writeOverAttempts(writer, target);
    expect(writer.stats()).toMatchObject({ mirrored: 0, lost: 0, inFlight: 0 });
    expect(written).toBeGreaterThan(0);
    expect(errorsIn(sink)).toContain(
      `refused NOT_CONNECTED there was no connection to the target (SELECT: ${code}); nothing was sent`,
    );
    expect(new Set(sink.records.map(({ error }) => error?.code))).toEqual(new Set(['NOT_CONNECTED']));
    expect(await server.client.keys('*')).toEqual(['k0']);
    expect(await server.client.get('k0')).toBe('of another application');
  });

  it('behind Sentinels gets nothing either', async () => {
    const west = await startSentinelGroup('west', ['--databases', '1']);
    onTestFinished(() => west.stop());
    const target = connect({ ...targetOptions(west.master), sentinels: [...west.sentinels], name: west.name });
    const { writer, sink } = await createWriter(target);
    await writeOverAttempts(writer, target);
    expect(writer.stats()).toMatchObject({ mirrored: 0, lost: 0 });
    expect([...errorsIn(sink)].some((error) => error.includes('(SELECT: ERR)'))).toBe(true);
    expect(await west.master.client.dbsize()).toBe(0);
  });

  it('before the writer had its client gets nothing either', async () => {
    const server = await started(['--databases', '1']);
    const target = connect(targetOptions(server));
    await new Promise<void>((resolve) => target.once('ready', () => resolve()));
    const { writer, sink } = await createWriter(target);
    await writeOverAttempts(writer, target);
    expect(writer.stats()).toMatchObject({ mirrored: 0 });
    expect(sink.records.length).toBeGreaterThan(0);
    expect(await server.client.dbsize()).toBe(0);
  });

  it('is written to as soon as it takes the database', async () => {
    const server = await started(['--user', 'mirror', 'on', '>secret', '~*', '+@all', '-select']);
    const target = connect({ ...targetOptions(server), username: 'mirror', password: 'secret' });
    const { writer } = await createWriter(target);
    await writeOverAttempts(writer, target);
    const ready = new Promise<void>((resolve) => target.once('ready', () => resolve()));
    await server.client.acl('SETUSER', 'mirror', '+select');
    await ready;
    await writer.set('after', 'v');
    await settled(writer);
    expect(writer.stats()).toMatchObject({ mirrored: 1 });
    const [inTwo, inZero] = [connect({ port: server.port, db: 2 }), server.client];
    expect([await inTwo.get('after'), await inZero.get('after')]).toEqual(['v', null]);
  });
});

it('a client that is connected to its database already is used there', async () => {
  const server = await started();
  const target = connect(targetOptions(server));
  const ready = () => new Promise<void>((resolve) => target.once('ready', () => resolve()));
  await ready();
  const again = ready();
  const { writer } = await createWriter(target);
  await again;
  await writer.set('k', 'v');
  await settled(writer);
  expect(await connect({ port: server.port, db: 2 }).get('k')).toBe('v');
  expect(await server.client.exists('k')).toBe(0);
});

it('RESET, which leads to database 0, is refused on a source client of another one', async () => {
  const [source, target] = [await started(), await started()];
  const writer = createDualWriter({
    link: 'east-to-west',
    origin: 'test',
    source: connect({ port: source.port, db: 3, protocol: 2 }),
    target: connect(targetOptions(target)),
    records: new MemorySink(),
    onError: (error) => expect.unreachable(error.message),
  });
  await expect(writer.call('RESET')).rejects.toThrow(/^RESET is refused on a DualWriter: it leads to database 0/);
  await writer.set('k', 'v');
  await settled(writer);
  expect(await source.client.exists('k')).toBe(0);
  await source.client.select(3);
  expect(await source.client.get('k')).toBe('v');
});
