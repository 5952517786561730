import { setTimeout as sleep } from 'node:timers/promises';
import { Redis } from 'ioredis';
import { afterEach, describe, expect, test } from 'vitest';
import { Connection } from '../../src/redis/connection/connection.js';
import { connectRedis, type ObservedState, RedisFailure, type RedisPort } from '../../src/redis/index.js';
import { eventually } from '../support/eventually.js';
import { freePort, type RedisServer, startRedis } from '../support/redis.js';
import { startRelay } from '../support/relay.js';

const KEY = Buffer.from('k');
const cleanups: (() => unknown)[] = [];
afterEach(async () => {
  for (const cleanup of cleanups.splice(0).reverse()) await cleanup();
});

async function server(args: string[] = [], port?: number): Promise<RedisServer> {
  const started = await startRedis(args, port === undefined ? {} : { port });
  cleanups.push(() => started.stop());
  return started;
}

function portTo(url: string, commandTimeoutMs = 60_000): RedisPort {
  const port = connectRedis({ url }, { name: 'target of link a-to-b', commandTimeoutMs });
  cleanups.push(() => port.close());
  return port;
}

async function observe(port: RedisPort): Promise<ObservedState> {
  const [state] = await port.inspect([KEY]);
  if (state === undefined || state instanceof RedisFailure) throw state;
  return state;
}

describe('check', () => {
  test('answers nothing when the server is there', async () => {
    const { url } = await server();
    await expect(portTo(url).check()).resolves.toEqual([]);
  });

  test('says in one line that nothing listens there', async () => {
    const port = await freePort();
    await expect(portTo(`redis://127.0.0.1:${port}`).check()).rejects.toThrow(
      `target of link a-to-b (127.0.0.1:${port}) cannot be reached: nothing listens there (ECONNREFUSED); ` +
        'check that it runs and that the url of the link is right',
    );
  });

  test('says in one line that the host is not known', async () => {
    await expect(portTo('redis://no-such-host.invalid').check()).rejects.toThrow(
      /^target of link a-to-b \(no-such-host\.invalid:6379\) cannot be reached: the host name .*; check/,
    );
  });

  test.each([
    ['no password', '', 'wants a password; put it into the url of the link, or its passwordFile'],
    [
      'a wrong password',
      ':wrong-secret@',
      'refuses the user or the password; correct them in the url of the link, or in its passwordFile',
    ],
    [
      'a wrong user',
      'nobody:wrong-secret@',
      'refuses the user or the password; correct them in the url of the link, or in its passwordFile',
    ],
  ])('%s: says so without repeating it', async (_name, credentials, text) => {
    const { port } = await server(['--requirepass', 'right-secret']);
    const checked = portTo(`redis://${credentials}127.0.0.1:${port}`).check();
    await expect(checked).rejects.toThrow(`target of link a-to-b (127.0.0.1:${port}) ${text}`);
    const error = await checked.catch((caught: Error) => caught);
    expect(JSON.stringify(error, Object.getOwnPropertyNames(error))).not.toContain('secret');
  });

  test('the right password is accepted', async () => {
    const { port } = await server(['--requirepass', 'right']);
    await expect(portTo(`redis://:right@127.0.0.1:${port}`).check()).resolves.toEqual([]);
  });

  test('a database that the server does not have is refused, not replaced by another', async () => {
    const { url, client } = await server(['--databases', '2']);
    await client.set('k', 'v');
    const port = portTo(`${url}/5`);
    await expect(port.check()).rejects.toThrow(/, database 5\) answered: ERR DB index is out of range/);
    expect(await port.inspect([KEY])).toMatchObject([{ code: 'ERR' }]);
  });

  test('a single server that is said to be a Cluster is one clear line', async () => {
    const { url, port } = await server();
    const cluster = connectRedis({ cluster: [url] }, { name: 'target of link a-to-b' });
    await expect(cluster.check()).rejects.toThrow(
      `target of link a-to-b (Cluster at 127.0.0.1:${port}) is no Cluster; write { url: … } in the link`,
    );
    await cluster.close();
  });
});

test('the database of the url is the one that is used', async () => {
  const { url, client } = await server();
  await client.select(3);
  await client.set('k', 'v');
  expect(await observe(portTo(`${url}/3`))).toMatchObject({ type: 'string' });
  expect(await observe(portTo(url))).toMatchObject({ type: 'none', digest: '', expiry: -2 });
});

test('a Unix socket serves as well', async () => {
  const { client } = await server(['--unixsocket', 'keymend.sock']);
  const [, directory] = (await client.config('GET', 'dir')) as string[];
  await expect(portTo(`unix://${directory}/keymend.sock`).check()).resolves.toEqual([]);
});

describe('a lost connection', () => {
  test('is made anew by a later call', async () => {
    const { url, client } = await server();
    const port = portTo(url);
    await port.check();
    await client.call('CLIENT', 'KILL', 'TYPE', 'normal', 'SKIPME', 'yes');
    await eventually(() => port.check());
  });

  test('fails calls soon while the server is away, and works again when it is back', async () => {
    const first = await server();
    const port = portTo(first.url);
    await port.check();
    await first.stop();
    const failures = await Promise.all(Array.from({ length: 10 }, () => port.inspect([KEY])));
    expect(failures.flat().map((failure) => (failure as RedisFailure).code)).toEqual(Array(10).fill('CONNECTION'));
    await server([], first.port);
    await eventually(async () => expect(await observe(port)).toMatchObject({ type: 'none' }));
  });

  test('says why it fails, each time that it tries', async () => {
    const first = await server();
    const port = portTo(first.url);
    await first.stop();
    const messages = new Set<string>();
    // Attempts lie at most 50, 100, 200 ms apart: several are among these calls.
    for (let call = 0; call < 10; call++) {
      const [answer] = await port.inspect([KEY]);
      messages.add((answer as RedisFailure).message);
      await new Promise((resolve) => setTimeout(resolve, 30));
    }
    expect([...messages]).toEqual(['nothing listens there (ECONNREFUSED)']);
  });

  test('causes no stray error event or unhandled rejection', async () => {
    const strays: unknown[] = [];
    const collect = (error: unknown) => strays.push(error);
    process.on('unhandledRejection', collect);
    process.on('uncaughtException', collect);
    try {
      const first = await server();
      const port = portTo(first.url);
      await port.check();
      const inFlight = port.inspect([KEY]);
      await first.stop();
      await inFlight;
      await port.inspect([KEY]);
      await port.close();
      await sleep(10);
      expect(strays).toEqual([]);
    } finally {
      process.off('unhandledRejection', collect);
      process.off('uncaughtException', collect);
    }
  });

  test('closed by us: calls fail, closing again is fine', async () => {
    const { url } = await server();
    const port = portTo(url);
    await port.check();
    await port.close();
    await port.close();
    expect(await port.inspect([KEY])).toMatchObject([{ code: 'CONNECTION' }]);
  });
});

describe('a command without an answer in time', () => {
  test('fails with TIMEOUT, and the next one goes over a new connection', async () => {
    const frozen = await server();
    const port = portTo(frozen.url, 2_000);
    await port.check();
    const before = await clientIds(frozen);
    frozen.freeze();
    expect(await port.inspect([KEY])).toMatchObject([{ code: 'TIMEOUT' }]);
    frozen.thaw();
    await eventually(() => port.check());
    expect((await clientIds(frozen)).filter((id) => before.includes(id))).toEqual([]);
  });

  test('is not executed when its bytes reach the server later than the caller waited', async () => {
    const slow = await server();
    const relay = await startRelay(slow.port);
    cleanups.push(() => relay.close());
    const port = portTo(`redis://127.0.0.1:${relay.port}`, 2_000);
    const observed = await observe(port);
    await slow.client.set('new', 'v');
    const dump = await slow.client.dumpBuffer('new');

    const change = { action: 'restore', dump: dump!, content: null, expiry: -1, expiryTolerated: true } as const;
    // Once in time, so that the server knows the script.
    expect(await port.repair([{ key: Buffer.from('other'), observed, change }])).toEqual(['restored']);

    relay.holdFrom('');
    const outcomes = await port.repair([{ key: KEY, observed, change }]);
    expect(outcomes).toMatchObject([{ code: 'TIMEOUT' }]);
    // Past the deadline by the server's own clock; what was sent arrives now, although its sender
    // has gone.
    await sleep(10);
    const evals = async () => /cmdstat_eval(sha)?:calls=\d+/g.exec(await slow.client.info('commandstats'));
    const calls = await evals();
    relay.deliver();
    await eventually(async () => expect(await evals()).not.toEqual(calls));
    expect(await slow.client.exists('k')).toBe(0);
  });

  async function clientIds({ client }: RedisServer): Promise<string[]> {
    const clients = (await client.call('CLIENT', 'LIST')) as string;
    return [...clients.matchAll(/^id=(\d+).* name=keymend /gm)].map(([, id]) => id!);
  }
});

test('a server that is busy has not refused to say how long an argument may be', async () => {
  const { url, client } = await server(['--proto-max-bulk-len', '1mb', '--busy-reply-threshold', '1']);
  const connection = new Connection({ url }, { name: 'target', commandTimeoutMs: 60_000 });
  cleanups.push(() => connection.close());
  const setLong = async () => (await connection.send([['SET', 'k', Buffer.alloc(2 * 1_048_576)]]))[0];
  await connection.send([['PING']]);
  const script = client.eval('while true do end', 0).catch(() => {});
  await eventually(async () => expect(await connection.send([['DBSIZE']])).toMatchObject([{ code: 'BUSY' }]));
  expect(await setLong()).toMatchObject({ code: 'BUSY' });
  const other = new Redis(url, { protocol: 2, enableReadyCheck: false });
  cleanups.push(() => other.disconnect());
  await other.script('KILL');
  await script;
  // It is asked again, and nothing is sent that would end the connection.
  expect(await setLong()).toMatchObject({ code: 'TOOBIG' });
  expect(connection.connections).toBe(1);
});

describe('commands that are sent together', () => {
  test('reach the server together, and are answered in their order', async () => {
    const { url, client } = await server();
    const reads = async () => Number(/total_reads_processed:(\d+)/.exec(await client.info('stats'))![1]);
    const connection = new Connection({ url }, { name: 'target of link a-to-b' });
    cleanups.push(() => connection.close());
    await connection.send([['PING']]);
    const before = await reads();
    const texts = Array.from({ length: 1_000 }, (_, index) => `${index}`);
    const replies = await connection.send(texts.map((text): [string, string] => ['ECHO', text]));
    expect(replies.map(String)).toEqual(texts);
    // As few as their bytes need; each by itself would be read by itself.
    expect((await reads()) - before).toBeLessThan(20);
  });
});
