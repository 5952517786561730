/** A connection that leads to a replica is given up for one that may lead to a master. */
import { type AddressInfo, connect, createServer, type Socket } from 'node:net';
import { afterEach, describe, expect, test } from 'vitest';
import { Connection } from '../../src/redis/connection/connection.js';
import { connectRedis } from '../../src/redis/index.js';
import { eventually } from '../support/eventually.js';
import { type RedisServer, startRedis } from '../support/redis.js';

const cleanups: (() => unknown)[] = [];
afterEach(async () => {
  for (const cleanup of cleanups.splice(0).reverse()) await cleanup();
});

function connectionTo(port: number): Connection {
  const connection = new Connection({ url: `redis://127.0.0.1:${port}` }, { name: 'target', hasSuccessor: true });
  cleanups.push(() => connection.close());
  return connection;
}

/**
 * One address with a server behind it that can change: connections stay, new ones go to the new
 * server.
 */
async function startName(first: RedisServer) {
  let target = first;
  const sockets: Socket[] = [];
  const name = createServer((client) => {
    const upstream = connect(target.port, '127.0.0.1');
    sockets.push(client, upstream);
    for (const socket of [client, upstream]) socket.on('error', () => {});
    client.pipe(upstream).pipe(client);
  });
  await new Promise<void>((resolve) => name.listen(0, '127.0.0.1', resolve));
  cleanups.push(() => {
    for (const socket of sockets) socket.destroy();
    name.close();
  });
  return {
    port: (name.address() as AddressInfo).port,
    leadTo(next: RedisServer) {
      target = next;
    },
  };
}

async function server(): Promise<RedisServer> {
  const started = await startRedis();
  cleanups.push(() => started.stop());
  return started;
}

async function demote(old: RedisServer, next: RedisServer): Promise<void> {
  await old.client.replicaof('127.0.0.1', next.port);
  await eventually(async () => expect(await old.client.info('replication')).toContain('master_link_status:up'));
}

test('the new master is found although commands are always under way at the old one', async () => {
  const [old, next] = [await server(), await server()];
  const name = await startName(old);
  const connection = connectionTo(name.port);
  // The read that blocks keeps the next call under way when this one is answered.
  const write = () =>
    connection.send([
      ['XREAD', 'BLOCK', '20', 'STREAMS', 's', '0'],
      ['SET', 'k', 'v'],
    ]);
  await write();
  await demote(old, next);
  name.leadTo(next);
  const answers = new Set<string>();
  let underWay = write();
  for (let calls = 0; calls < 50 && !answers.has('OK'); calls++) {
    const following = write();
    const [, reply] = await underWay;
    answers.add(reply instanceof Error ? (reply as Error & { code: string }).code : String(reply));
    underWay = following;
  }
  await underWay;
  expect([...answers]).toEqual(['READONLY', 'OK']);
  expect(await next.client.get('k')).toBe('v');
});

test('a repair that meets a replica inside of its script leads the next one to the new master', async () => {
  const [old, next] = [await server(), await server()];
  await old.client.set('k', 'v');
  const name = await startName(old);
  const port = connectRedis({ url: `redis://127.0.0.1:${name.port}` }, { name: 'target', hasSuccessor: true });
  cleanups.push(() => port.close());
  await port.check();
  await next.client.set('k', 'v');
  await demote(old, next);
  name.leadTo(next);
  const remove = async () => {
    const [observed] = await port.inspect([Buffer.from('k')]);
    if (observed === undefined || observed instanceof Error) throw observed;
    return port.repair([{ key: Buffer.from('k'), observed, change: { action: 'delete' } }]);
  };
  expect(await remove()).toMatchObject([{ code: 'READONLY' }]);
  expect(await remove()).toEqual(['deleted']);
});

describe('what was compared at one master is not written at the next', () => {
  /** A name that leads to another master by now, and writes of what was compared before. */
  async function compared() {
    const [old, next] = [await server(), await server()];
    for (const { client } of [old, next]) await client.hset('k', 'f', 'v');
    const name = await startName(old);
    const port = connectRedis({ url: `redis://127.0.0.1:${name.port}` }, { name: 'target', hasSuccessor: true });
    cleanups.push(() => port.close());
    const members = { key: Buffer.from('k'), members: [Buffer.from('f')] };
    const [[whole], [part]] = [await port.inspect([members.key]), await port.inspectMembers([members])];
    if (whole instanceof Error) throw whole;
    if (part instanceof Error) throw part;
    await demote(old, next);
    name.leadTo(next);
    const repair = { ...members, observed: part!, type: 'hash', cells: [Buffer.from('+x')], expiry: null };
    return {
      port,
      next,
      writes: [
        () => port.repair([{ key: members.key, observed: whole!, change: { action: 'delete' } }]),
        () => port.repairMembers([repair]),
      ],
    };
  }

  test('to which the write itself leads', async () => {
    const { next, writes } = await compared();
    // The first one is told that it has met a replica, and the connection is given up.
    expect(await writes[0]!()).toMatchObject([{ code: 'READONLY' }]);
    for (const write of writes) expect(await write()).toEqual(['changed']);
    expect(await next.client.hgetall('k')).toEqual({ f: 'v' });
  });

  test.each([0, 1])('by a script that the first did not know, and that is sent once more (%i)', async (index) => {
    const { port, next, writes } = await compared();
    // Behind the question for the role the connection is given up, with the script's first answer.
    const [, outcomes] = await Promise.all([port.health(), writes[index]!()]);
    expect(outcomes).toEqual(['changed']);
    expect(await next.client.hgetall('k')).toEqual({ f: 'v' });
  });
});

test('a server that stays a replica is not connected to with every command', async () => {
  const [master, replica] = [await server(), await server()];
  await demote(replica, master);
  const connection = connectionTo(replica.port);
  const begin = performance.now();
  for (let calls = 0; calls < 50; calls++) {
    expect(await connection.send([['SET', 'k', 'v']])).toMatchObject([{ code: 'READONLY' }]);
  }
  expect(connection.connections).toBeLessThanOrEqual(2 + (performance.now() - begin) / 250);
});

test('one that ends with an error of its own is replaced all the same', async () => {
  let connections = 0;
  const server = createServer({ allowHalfOpen: true }, (socket) => {
    const isReplica = connections++ === 0;
    socket.on('error', () => {});
    socket.on('data', (bytes) => {
      const isReady = !bytes.includes('setname') && isReplica;
      socket.write(isReady ? '-READONLY a replica\r\n' : '+OK\r\n');
    });
    socket.on('end', () => socket.end('no reply of Redis\r\n'));
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  cleanups.push(() => server.close());
  const strays: unknown[] = [];
  const collect = (error: unknown) => strays.push(error);
  process.on('unhandledRejection', collect);
  cleanups.push(() => process.off('unhandledRejection', collect));

  const connection = connectionTo((server.address() as AddressInfo).port);
  expect(await connection.send([['SET', 'k', 'v']])).toMatchObject([{ code: 'READONLY' }]);
  expect((await connection.send([['SET', 'k', 'v']])).map(String)).toEqual(['OK']);
  expect(strays).toEqual([]);
});
