/** How what an application sends leaves for the source: in few pieces, none later than its turn. */
import { once } from 'node:events';
import type { Socket } from 'node:net';
import { Cluster, Redis } from 'ioredis';
import { afterAll, beforeAll, beforeEach, describe, expect, it, onTestFinished } from 'vitest';
import { corkForThisTurn } from '../../src/dual-write/source/cork.js';
import { type RedisServer, startRedis } from '../support/redis.js';

const KEYS = Array.from({ length: 20 }, (_, index) => `key:${index}`);

let server: RedisServer;
beforeAll(async () => {
  server = await startRedis();
});
afterAll(() => server?.stop());

/** How many pieces have been handed to the operating system since. */
function piecesOf(socket: Socket): () => number {
  let pieces = 0;
  for (const name of ['_write', '_writev'] as const) {
    const own = socket[name] as (...args: unknown[]) => void;
    socket[name] = (...args: unknown[]) => {
      pieces += 1;
      own.apply(socket, args);
    };
  }
  return () => pieces;
}

describe('a client whose commands are corked for their turn', () => {
  let client: Redis;
  let socket: Socket;
  let pieces: () => number;
  beforeEach(async () => {
    client = new Redis(server.port, '127.0.0.1');
    await once(client, 'ready');
    socket = client.stream as Socket;
    pieces = piecesOf(socket);
    onTestFinished(() => client.disconnect());
  });
  const set = (key: string) => {
    corkForThisTurn(client);
    return client.set(key, '1');
  };

  it('sends those of one turn in one piece, which would be as many otherwise', async () => {
    expect(await Promise.all(KEYS.map(set))).toEqual(KEYS.map(() => 'OK'));
    expect(pieces()).toBe(1);
    await Promise.all(KEYS.map((key) => client.set(key, '2')));
    expect(pieces()).toBe(1 + KEYS.length);
  });

  it('sends together again what follows on answers that came together', async () => {
    await Promise.all(KEYS.map((key) => set(key).then(() => set(key))));
    // Answers can come in parts, each of which is a turn.
    expect(pieces()).toBeLessThan(KEYS.length / 2);
  });

  it('sends a later turn in a piece of its own, and holds nothing back', async () => {
    const first = set('a');
    await new Promise(setImmediate);
    expect(socket.writableCorked).toBe(0);
    await Promise.all([first, set('b')]);
    expect(pieces()).toBe(2);
  });

  it('leaves a connection alone that somebody has corked already', async () => {
    socket.cork();
    const answer = set('a');
    await new Promise(setImmediate);
    expect([socket.writableCorked, pieces()]).toEqual([1, 0]);
    socket.uncork();
    expect(await answer).toBe('OK');
  });
});

it('leaves alone what has no connection of its own yet, or several', () => {
  for (const client of [new Redis({ lazyConnect: true }), new Cluster([{}], { lazyConnect: true })]) {
    expect(() => corkForThisTurn(client)).not.toThrow();
    client.disconnect();
  }
});
