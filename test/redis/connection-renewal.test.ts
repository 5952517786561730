/** A connection that leads to a replica is given up for one that may lead to a master. */
import { type AddressInfo, createServer } from 'node:net';
import { afterEach, expect, test } from 'vitest';
import { Connection } from '../../src/redis/connection.js';

const cleanups: (() => unknown)[] = [];
afterEach(async () => {
  for (const cleanup of cleanups.splice(0).reverse()) await cleanup();
});

function connectionTo(port: number): Connection {
  const connection = new Connection({ url: `redis://127.0.0.1:${port}` }, { name: 'target', hasSuccessor: true });
  cleanups.push(() => connection.close());
  return connection;
}

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
