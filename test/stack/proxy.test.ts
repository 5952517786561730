import { once } from 'node:events';
import { type AddressInfo, connect, createServer, type Server, type Socket } from 'node:net';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { type FaultProxy, startProxy } from '../../src/stack/proxy.js';

/** What the far end of one connection has seen. */
interface FarEnd {
  socket: Socket;
  received: string;
  ended: boolean;
}

describe('the TCP fault proxy', () => {
  let server: Server;
  let proxy: FaultProxy;
  let farEnds: FarEnd[];
  const clients: Socket[] = [];

  beforeEach(async () => {
    farEnds = [];
    server = createServer({ allowHalfOpen: true }, (socket) => {
      const farEnd: FarEnd = { socket, received: '', ended: false };
      farEnds.push(farEnd);
      socket.on('data', (data) => {
        farEnd.received += data;
        socket.write(data);
      });
      socket.on('end', () => {
        farEnd.ended = true;
        socket.end();
      });
      socket.on('error', () => {});
    });
    server.listen(0, '127.0.0.1');
    await once(server, 'listening');
    proxy = await startProxy({ target: { host: '127.0.0.1', port: (server.address() as AddressInfo).port } });
  });

  afterEach(async () => {
    for (const client of clients.splice(0)) client.destroy();
    await proxy.close();
    for (const { socket } of farEnds) socket.destroy();
    await new Promise((resolve) => server.close(resolve));
  });

  function open(): Socket {
    const client = connect({ port: proxy.port, host: '127.0.0.1' });
    client.on('error', () => {});
    clients.push(client);
    return client;
  }

  async function read(client: Socket, length: number): Promise<string> {
    let text = '';
    while (text.length < length) text += String((await once(client, 'data'))[0]);
    return text;
  }

  async function echo(client: Socket, text: string): Promise<string> {
    client.write(text);
    return read(client, text.length);
  }

  /** Lets the proxy, which shares this event loop, read what was written to it. */
  async function turns(): Promise<void> {
    for (let turn = 0; turn < 5; turn++) await new Promise((resolve) => setImmediate(resolve));
  }

  /**
   * The far end of a new connection, which has carried one echo so that both sides are known to
   * stand.
   */
  async function established(): Promise<{ client: Socket; farEnd: FarEnd }> {
    const client = open();
    await echo(client, '.');
    const farEnd = farEnds.at(-1)!;
    farEnd.received = '';
    return { client, farEnd };
  }

  it('carries bytes in both directions and passes a clean end on', async () => {
    const { client, farEnd } = await established();
    expect(await echo(client, 'hello')).toBe('hello');
    client.end();
    await once(client, 'end');
    expect(farEnd.ended).toBe(true);
  });

  it('resets a connection to a target that refuses', async () => {
    const nowhere = await startProxy({ target: { host: '127.0.0.1', port: 1 } });
    try {
      const client = connect({ port: nowhere.port, host: '127.0.0.1' });
      clients.push(client);
      const [error] = await once(client, 'error');
      expect(error.code).toBe('ECONNRESET');
    } finally {
      await nowhere.close();
    }
  });

  it('cut resets what is connected and what tries to connect, until restore', async () => {
    const { client } = await established();
    proxy.cut();
    const [error] = await once(client, 'error');
    expect(error.code).toBe('ECONNRESET');

    const refused = open();
    expect((await once(refused, 'error'))[0].code).toBe('ECONNRESET');

    proxy.restore();
    expect(await echo(open(), 'again')).toBe('again');
  });

  it('swallow holds everything in both directions and release forwards it in order', async () => {
    const { client, farEnd } = await established();
    proxy.swallow();
    client.write('one ');
    client.write('two ');
    farEnd.socket.write('reply ');
    // A connection made meanwhile is accepted too, and it hears as little.
    const late = open();
    await once(late, 'connect');
    late.write('late');
    const early = await Promise.race([
      once(client, 'data'),
      new Promise((resolve) => setTimeout(resolve, 100, 'nothing')),
    ]);
    expect(early).toBe('nothing');
    expect(farEnd.received).toBe('');

    proxy.release();
    expect(await read(client, 'reply one two '.length)).toBe('reply one two ');
    expect(farEnd.received).toBe('one two ');
  });

  it('delivers what was held when the client only closed, but nothing when it reset', async () => {
    const closing = await established();
    const resetting = await established();
    proxy.swallow();
    closing.client.end('still wanted');
    resetting.client.write('too late');
    await once(closing.client, 'finish');
    await turns();
    const closed = new Promise<void>((resolve) => resetting.farEnd.socket.once('close', () => resolve()));
    resetting.client.resetAndDestroy();
    await closed;

    proxy.release();
    await once(closing.farEnd.socket, 'end');
    expect(closing.farEnd.received).toBe('still wanted');
    expect(resetting.farEnd.received).toBe('');
  });

  it('slow delays each direction and keeps the order, until restore', async () => {
    const { client } = await established();
    proxy.slow(60);
    const started = performance.now();
    client.write('a');
    client.write('b');
    client.write('c');
    expect(await read(client, 3)).toBe('abc');
    expect(performance.now() - started).toBeGreaterThanOrEqual(120);
  });
});
