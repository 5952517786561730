/** Applications as users write them: what they do must not depend on how the target fares. */
import { createServer, type IncomingMessage, type RequestListener } from 'node:http';
import type { AddressInfo } from 'node:net';
import type { Redis } from 'ioredis';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { type Bed, settled, startBed, unexpected } from './bed.js';

let bed: Bed;
beforeAll(async () => {
  bed = await startBed();
});
afterEach(() => bed.reset());
afterAll(() => bed.stop());

/**
 * A handler in the style of Express: a session in a hash with an expiry, a page counter, a rate
 * limit.
 */
function shop(redis: Redis): RequestListener {
  return async (request, response) => {
    const { pathname, searchParams } = new URL(request.url ?? '/', 'http://shop');
    const user = searchParams.get('user') ?? 'nobody';
    try {
      if (request.method === 'POST' && pathname === '/cart') {
        const { item } = JSON.parse(await bodyOf(request)) as { item: string };
        const results = await redis
          .multi()
          .hincrby(`cart:${user}`, item, 1)
          .expire(`cart:${user}`, 3600)
          .zincrby('bestsellers', 1, item)
          .exec();
        return void response.writeHead(201).end(JSON.stringify({ inCart: results?.[0]?.[1] }));
      }
      if (pathname === '/cart') {
        await redis.incr('views');
        return void response.end(JSON.stringify(await redis.hgetall(`cart:${user}`)));
      }
      response.writeHead(404).end();
    } catch (error) {
      response.writeHead(500).end((error as Error).message);
    }
  };
}

async function bodyOf(request: IncomingMessage): Promise<string> {
  const parts: Buffer[] = [];
  for await (const part of request) parts.push(part as Buffer);
  return Buffer.concat(parts).toString();
}

async function serve<Result>(handler: RequestListener, use: (url: string) => Promise<Result>): Promise<Result> {
  const server = createServer(handler);
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  try {
    return await use(`http://127.0.0.1:${(server.address() as AddressInfo).port}`);
  } finally {
    server.closeAllConnections();
    await new Promise((resolve) => server.close(resolve));
  }
}

/** Takes jobs from a list until it is empty, and notes in a stream what it did. */
async function work(redis: Redis): Promise<number> {
  let done = 0;
  for (;;) {
    const job = await redis.lmove('jobs', 'jobs:running', 'LEFT', 'RIGHT');
    if (job === null) return done;
    await redis.pipeline().xadd('done', '*', 'job', job).lrem('jobs:running', 1, job).exec();
    done += 1;
  }
}

async function side(client: Redis): Promise<unknown> {
  const read = [
    client.hgetall('cart:ada'),
    client.zrange('bestsellers', '0', '-1', 'WITHSCORES'),
    client.get('views'),
    client.lrange('jobs', 0, -1),
    client.lrange('jobs:running', 0, -1),
    client.xrange('done', '-', '+'),
    client.call('PEXPIRETIME', 'cart:ada'),
  ];
  return Promise.all(read);
}

const put = (url: string, item: string) =>
  fetch(`${url}/cart?user=ada`, { method: 'POST', body: JSON.stringify({ item }) }).then((answer) => answer.json());

describe('a request handler', () => {
  it('serves from the source, and the target has the same', async () => {
    const writer = await bed.writer();
    await serve(shop(writer), async (url) => {
      expect(await put(url, 'tea')).toEqual({ inCart: 1 });
      expect(await put(url, 'tea')).toEqual({ inCart: 2 });
      await Promise.all(['pot', 'cup', 'cup'].map((item) => put(url, item)));
      const cart = await fetch(`${url}/cart?user=ada`).then((answer) => answer.json());
      expect(cart).toEqual({ tea: '2', pot: '1', cup: '2' });
    });
    await writer.close();
    const [source, target] = [await side(bed.source.client), await side(bed.target.client)];
    // Expiries are mirrored as points in time by this clock, so they differ by what the reply took.
    expect((target as unknown[]).slice(0, -1)).toEqual((source as unknown[]).slice(0, -1));
    expect(unexpected(bed.sink.records)).toEqual([]);
  });

  it('serves on while the target is dead; each key that it wrote has a record', async () => {
    const writer = await bed.writer({ timeoutMs: 200 });
    bed.link.swallow();
    await serve(shop(writer), async (url) => {
      for (let count = 1; count <= 20; count++) expect(await put(url, 'tea')).toEqual({ inCart: count });
      expect(await fetch(`${url}/cart?user=ada`).then((answer) => answer.json())).toEqual({ tea: '20' });
    });
    const report = await writer.close();
    expect(report).toEqual({ notRecorded: [], unanswered: [] });
    expect(new Set(bed.sink.records.map(({ key }) => key))).toEqual(new Set(['cart:ada', 'bestsellers', 'views']));
  });
});

describe('a worker loop', () => {
  it('does each job once, and the target has the same', async () => {
    const writer = await bed.writer();
    await writer.rpush('jobs', ...Array.from({ length: 100 }, (_, index) => `job ${index}`));
    expect(await work(writer)).toBe(100);
    await writer.close();
    expect(await side(bed.target.client)).toEqual(await side(bed.source.client));
    expect(bed.sink.records).toEqual([]);
  });

  it('does each job once while the link to the target breaks again and again', async () => {
    const writer = await bed.writer({ timeoutMs: 200 });
    await writer.rpush('jobs', ...Array.from({ length: 100 }, (_, index) => `job ${index}`));
    await settled(writer);
    const working = work(writer);
    bed.link.cut();
    expect(await working).toBe(100);
    await writer.close();
    expect(await bed.source.client.xlen('done')).toBe(100);
    expect(new Set(bed.sink.records.map(({ key }) => key))).toEqual(new Set(['jobs', 'jobs:running', 'done']));
  });
});
