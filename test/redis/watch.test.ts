import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { connectRedis, type KeyWatch, RedisFailure, type RedisPort } from '../../src/redis/index.js';
import { keysOf } from '../support/keys.js';
import { type RedisServer, startRedis } from '../support/redis.js';

let server: RedisServer;
let port: RedisPort;
beforeAll(async () => {
  server = await startRedis();
  port = connectRedis({ url: server.url }, { name: 'target' });
});
afterAll(async () => {
  await port?.close();
  await server?.stop();
});
beforeEach(() => server.client.flushall());

async function watch(key: string | Buffer = 'k'): Promise<KeyWatch> {
  const answer = await port.watch(Buffer.from(key as Buffer));
  if (answer instanceof RedisFailure) throw answer;
  return answer;
}

describe('a watched key', () => {
  const writes: [string, ...string[]][] = [
    ['SET', 'k', 'v'],
    ['PEXPIRE', 'k', '100000'],
    ['DEL', 'k'],
    ['RENAME', 'other', 'k'],
    ['FLUSHALL'],
  ];
  test.each(writes)('has changed after %s', async (command, ...args) => {
    await server.client.mset('k', 'v', 'other', 'v');
    const watched = await watch();
    await server.client.call(command, ...args);
    expect(await watched.unchanged()).toBe(false);
    watched.close();
  });

  test('has not changed when it was read, or another key written', async () => {
    await server.client.set('k', 'v');
    const watched = await watch();
    await server.client.get('k');
    await server.client.set('other', 'v');
    expect(await watched.unchanged({ atMaster: true })).toBe(true);
    watched.close();
  });

  test('is read, and of what it lacks there is nothing', async () => {
    await server.client.set('k', 'value');
    const watched = await watch();
    expect(watched.state).toEqual({ type: 'string', expiry: -1, size: 5 });
    expect(String(await watched.readString({ start: 1, count: 3 }))).toBe('alu');
    expect(await watched.digestString({ start: 3, count: 9 })).toMatchObject({ count: 2 });
    watched.close();
  });

  test('is lost with its connection: nothing answers, nothing is written', async () => {
    await server.client.set('k', 'v');
    const watched = await watch();
    await server.client.call('CLIENT', 'KILL', 'TYPE', 'normal', 'SKIPME', 'yes');
    await expect.poll(() => watched.readString({ start: 0, count: 1 })).toMatchObject({ code: 'CONNECTION' });
    expect(await watched.unchanged()).toMatchObject({ code: 'CONNECTION' });
    expect(await watched.write({ action: 'delete' })).toMatchObject({ code: 'CONNECTION' });
    expect(await server.client.get('k')).toBe('v');
    watched.close();
  });
});

describe('a temporary key', () => {
  test.each(['user:1', '{tag}:1', 'a{tag}b{other}', 'open{', 'close}', '{}empty'])(
    'lies in the slot of %s',
    async (key) => {
      const cluster = await startRedis(['--cluster-enabled', 'yes']);
      try {
        const watched = await watch(key);
        const slots = [key, watched.temporaryKey().name].map((name) => cluster.client.call('CLUSTER', 'KEYSLOT', name));
        const [one, other] = await Promise.all(slots);
        watched.close();
        expect(other).toBe(one);
      } finally {
        await cluster.stop();
      }
    },
  );

  test.each([
    ['fewer', 9],
    ['more', 11],
  ])('is not written from %s bytes than were announced', async (_name, bytes) => {
    const watched = await watch();
    const temporary = watched.temporaryKey();
    async function* pieces() {
      yield Buffer.alloc(bytes);
    }
    await expect(temporary.writeString(10, pieces())).rejects.toThrow('the pieces are');
    await server.client.ping();
    expect(await keysOf(server.client)).toEqual([]);
    watched.close();
  });

  test('that has gone is not grown any further, nor put in place', async () => {
    await server.client.rpush('k', 'old');
    const watched = await watch();
    const temporary = watched.temporaryKey();
    expect(await temporary.appendElements(0, [Buffer.from('a')])).toBe('grown');
    await server.client.del(temporary.name);
    expect(await temporary.appendElements(1, [Buffer.from('b')])).toBe('lost');
    expect(await temporary.copyElements(1, { start: 0, count: 1 })).toBe('lost');
    expect(await watched.write({ action: 'replace', temporary, expiry: -1 })).toBe('changed');
    expect(await server.client.lrange('k', 0, -1)).toEqual(['old']);
    watched.close();
  });
});
