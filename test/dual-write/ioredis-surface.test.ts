/**
 * What ioredis documents of itself, done by a plain client and by a DualWriter: replies, errors and
 * types must not differ.
 */
import { Redis } from 'ioredis';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { keysOf } from '../support/keys.js';
import { type Bed, settled, startBed } from './bed.js';

let bed: Bed;
beforeAll(async () => {
  bed = await startBed();
});
afterEach(() => bed.reset());
afterAll(() => bed.stop());

/** Uses the client as an application would, and returns whatever it saw. */
type Use = (redis: Redis) => Promise<unknown>;

/** Errors as what a program can tell of them. */
async function outcome(work: () => Promise<unknown>): Promise<unknown> {
  try {
    return normalise(await work());
  } catch (error) {
    return normalise(error);
  }
}

function normalise(value: unknown): unknown {
  if (value instanceof Error) return { error: value.name, message: value.message };
  if (Array.isArray(value)) return value.map(normalise);
  return value;
}

/**
 * All on the same source server, the plain client in a database of its own. Without and with
 * transactional mode.
 */
async function expectSame(use: Use, options: Parameters<Bed['writer']>[0] = {}): Promise<unknown> {
  const plain = new Redis(bed.source.port, '127.0.0.1', { protocol: 2, ...options.source, db: 1 });
  plain.on('error', () => {});
  try {
    const expected = await outcome(() => use(plain));
    for (const more of [{ transactional: {} }, {}]) {
      await Promise.all([bed.source.client.flushdb(), bed.target.client.flushdb()]);
      const writer = await bed.writer({ ...options, more });
      expect(await outcome(() => use(writer))).toEqual(expected);
      await settled(writer);
      expect(writer.stats().uncovered).toBe(0);
    }
    return expected;
  } finally {
    plain.disconnect();
  }
}

/** What a callback was called with. */
function called(start: (callback: (error?: Error | null, reply?: unknown) => void) => void): Promise<unknown[]> {
  return new Promise((resolve) => start((error, reply) => resolve([normalise(error), reply])));
}

const wrongType: Use = async (redis) => {
  await redis.set('text', 'v');
  return redis.lpush('text', 'x');
};

describe('a command', () => {
  it.each<[string, Use]>([
    [
      'replies with strings, numbers, null and arrays',
      (redis) =>
        Promise.all([
          redis.set('k', 'v'),
          redis.incr('n'),
          redis.get('none'),
          redis.mget('k', 'none'),
          redis.exists('k'),
        ]),
    ],
    [
      'replies with buffers when asked for them',
      async (redis) => {
        await redis.set('k', Buffer.from([0xff, 0x00]));
        return Promise.all([redis.getBuffer('k'), redis.getsetBuffer('k', 'w'), redis.callBuffer('GET', 'k')]);
      },
    ],
    [
      'takes arguments as lists, nested lists, numbers and objects',
      async (redis) => [
        await redis.sadd('s', ['a', 'b']),
        await redis.sadd('s', 'c', 1),
        await redis.hset('h', { a: 1, b: 'x' }),
        await redis.hset('h', new Map([['c', '3']])),
        await redis.mset({ m1: 1, m2: 2 }),
        await redis.zadd('z', 1, 'one', '2.5', 'two'),
        (await redis.smembers('s')).sort(),
      ],
    ],
    [
      'transforms the reply of HGETALL',
      async (redis) => {
        await redis.hmset('h', { a: '1', b: '2' });
        return [await redis.hgetall('h'), await redis.hgetall('none')];
      },
    ],
    [
      'can be called by its name in any case',
      async (redis) => [
        await redis.call('set', 'k', 'v', 'EX', 100),
        await redis.call('GET', ['k']),
        await redis.call('TtL', 'k'),
      ],
    ],
    ['rejects with the error of the server', wrongType],
    ['rejects when its arguments are wrong', (redis) => redis.call('SET', 'k')],
    ['calls a callback with the reply', (redis) => called((done) => redis.set('k', 'v', done))],
    [
      'calls a callback with the error',
      async (redis) => {
        await redis.set('text', 'v');
        return called((done) => redis.lpush('text', 'x', done));
      },
    ],
    [
      'blocks until there is something',
      async (redis) => {
        const pusher = redis.options.db === 1 ? bed.source.client.duplicate({ db: 1 }) : bed.source.client.duplicate();
        try {
          const popped = redis.blpop('queue', 5);
          await pusher.rpush('queue', 'job');
          return [await popped, await redis.blpop('queue', 0.01)];
        } finally {
          pusher.disconnect();
        }
      },
    ],
    [
      'scans by stream',
      async (redis) => {
        await redis.mset('a', '1', 'b', '2');
        const keys: string[] = [];
        for await (const found of redis.scanStream({ match: '?' })) keys.push(...(found as string[]));
        return keys.sort();
      },
    ],
  ])('%s', async (_, use) => {
    await expectSame(use);
  });
});

describe('a pipeline', () => {
  it.each<[string, Use]>([
    [
      'replies with [error, reply] for each command',
      (redis) => redis.pipeline().set('k', 'v').incr('k').get('k').hset('h', { a: 1 }).hgetall('h').exec(),
    ],
    [
      'takes its commands as a list',
      (redis) =>
        redis
          .pipeline([
            ['set', 'k', 'v'],
            ['get', 'k'],
          ])
          .exec(),
    ],
    [
      'calls the callback of each command and its own',
      async (redis) => {
        const seen: unknown[] = [];
        const results = await redis
          .pipeline()
          .set('k', 'v', (error, reply) => seen.push([error, reply]))
          .get('k', (error, reply) => seen.push([error, reply]))
          .exec((error, replies) => seen.push([error, replies]));
        return [seen, results];
      },
    ],
    ['is empty', (redis) => redis.pipeline().exec()],
    ['replies with buffers', (redis) => redis.pipeline().set('k', 'v').getBuffer('k').exec()],
    [
      'knows its length',
      async (redis) => {
        const pipeline = redis.pipeline().set('k', 'v').get('k');
        return [pipeline.length, await pipeline.exec()];
      },
    ],
  ])('%s', async (_, use) => {
    await expectSame(use);
  });
});

describe('a transaction', () => {
  it.each<[string, Use]>([
    [
      'replies with [error, reply] for each command',
      (redis) => redis.multi().set('k', 'v').incr('k').get('k').hset('h', { a: 1 }).hgetall('h').exec(),
    ],
    [
      'takes its commands as a list',
      (redis) =>
        redis
          .multi([
            ['set', 'k', 'v'],
            ['get', 'k'],
          ])
          .exec(),
    ],
    ['is discarded when a command in it is wrong', (redis) => redis.multi().set('k', 'v').call('SET', 'k').exec()],
    [
      'is sent command by command',
      async (redis) => [
        await redis.multi({ pipeline: false }),
        await redis.set('k', 'v'),
        await redis.get('k'),
        await redis.exec(),
      ],
    ],
    [
      'is part of a pipeline',
      (redis) => redis.pipeline([['get', 'k'], ['multi'], ['set', 'k', 'v'], ['get', 'k'], ['exec']]).exec(),
    ],
    [
      'does nothing when a watched key was changed',
      async (redis) => {
        await redis.watch('k');
        const other = bed.source.client.duplicate({ db: redis.options.db ?? 0 });
        await other.set('k', 'changed');
        other.disconnect();
        return redis.multi().set('k', 'v').exec();
      },
    ],
    ['calls a callback', (redis) => called((done) => redis.multi().set('k', 'v').exec(done))],
  ])('%s', async (_, use) => {
    await expectSame(use);
  });
});

describe('a script', () => {
  type WithScripts = Redis & {
    put(key: string, value: string): Promise<string>;
    putBuffer(key: string, value: string): Promise<Buffer>;
    putMany(keys: number, ...rest: string[]): Promise<number>;
  };
  const define = (redis: Redis): WithScripts => {
    redis.defineCommand('put', { numberOfKeys: 1, lua: "redis.call('SET', KEYS[1], ARGV[1]) return ARGV[1]" });
    redis.defineCommand('putMany', {
      lua: "for i, k in ipairs(KEYS) do redis.call('SET', k, ARGV[1]) end return #KEYS",
    });
    return redis as WithScripts;
  };

  it.each<[string, Use]>([
    [
      'is a command of the client',
      async (redis) => {
        const { put, putBuffer, putMany } = define(redis);
        return [
          await put.call(redis, 'k', 'v'),
          await put.call(redis, 'k', 'w'),
          await putBuffer.call(redis, 'k', 'x'),
          await putMany.call(redis, 2, 'a', 'b', 'y'),
          await redis.mget('k', 'a', 'b'),
        ];
      },
    ],
    [
      'is a command of pipelines and transactions',
      async (redis) => {
        define(redis);
        const pipeline = redis.pipeline() as unknown as {
          put(key: string, value: string): { exec(): Promise<unknown> };
        };
        const multi = redis.multi() as unknown as { put(key: string, value: string): { exec(): Promise<unknown> } };
        return [await pipeline.put('k', 'v').exec(), await multi.put('k', 'w').exec()];
      },
    ],
    [
      'is loaded again when the server has forgotten it',
      async (redis) => {
        const { put } = define(redis);
        await put.call(redis, 'k', 'v');
        await bed.source.client.script('FLUSH');
        return put.call(redis, 'k', 'w');
      },
    ],
    [
      'runs by its hash',
      async (redis) => {
        const hash = (await redis.script('LOAD', "return redis.call('INCR', KEYS[1])")) as string;
        return [await redis.evalsha(hash, 1, 'n'), await redis.eval('return {1, ARGV[1]}', 1, 'n', 'x')];
      },
    ],
    ['fails with the error of the server', (redis) => redis.evalsha('0'.repeat(40), 1, 'k')],
  ])('%s', async (_, use) => {
    await expectSame(use);
  });
});

describe('options of the client', () => {
  it('keyPrefix: stands in front of every key, on the target too', async () => {
    await expectSame(
      async (redis) => [
        await redis.set('k', 'v'),
        await redis.mget('k', 'none'),
        await redis.pipeline().sadd('s', 'a').smembers('s').exec(),
        await redis.multi().rpush('l', 'x').lrange('l', 0, -1).exec(),
        (await redis.keys('app:*')).sort(),
      ],
      { source: { keyPrefix: 'app:' } },
    );
    expect(await keysOf(bed.target.client)).toEqual(['app:k', 'app:l', 'app:s']);
  });

  it('enableAutoPipelining: commands of one turn go as one, each with its own reply', async () => {
    await expectSame(
      async (redis) => {
        const outcomes = await Promise.allSettled([
          redis.set('k', 'v'),
          redis.get('k'),
          redis.lpush('k', 'x'),
          redis.hset('h', { a: 1 }),
        ]);
        return outcomes.map((one) => (one.status === 'fulfilled' ? one.value : normalise(one.reason)));
      },
      { source: { enableAutoPipelining: true } },
    );
    expect(await bed.target.client.get('k')).toBe('v');
  });

  it('protocol 3: the same replies', async () => {
    await expectSame(
      async (redis) => [
        await redis.zadd('z', 1.5, 'one'),
        await redis.zincrby('z', 2, 'one'),
        await redis.hset('h', { a: 1 }),
        await redis.hgetall('h'),
        await redis.multi().sadd('s', 'a').smembers('s').exec(),
      ],
      { source: { protocol: 3 } },
    );
    expect(bed.sink.records).toEqual([]);
    expect(await bed.target.client.zscore('z', 'one')).toBe('3.5');
  });
});

describe('events and connection', () => {
  it('subscribes, and events come to the writer', async () => {
    const writer = await bed.writer();
    const message = new Promise((resolve) => writer.on('message', (...message) => resolve(message)));
    expect(await writer.subscribe('news')).toBe(1);
    await bed.source.client.publish('news', 'hello');
    expect(await message).toEqual(['news', 'hello']);
    await writer.unsubscribe('news');
    expect(await writer.set('k', 'v')).toBe('OK');
  });

  it('tells its status, and ends with quit', async () => {
    const writer = await bed.writer();
    expect([writer.status, writer.options.host, writer.mode]).toEqual(['ready', '127.0.0.1', 'normal']);
    const ended = new Promise<void>((resolve) => writer.once('end', () => resolve()));
    expect(await writer.quit()).toBe('OK');
    await ended;
    await expect(writer.set('k', 'v')).rejects.toThrow('Connection is closed.');
    expect(bed.sink.records).toEqual([]);
  });

  it('keeps what is written before it is connected', async () => {
    const writer = await bed.writer();
    writer.disconnect(true);
    const replies = await Promise.all([writer.set('k', 'v'), writer.incr('n'), writer.get('k')]);
    expect(replies).toEqual(['OK', 1, 'v']);
    await settled(writer);
    expect(await bed.target.client.mget('k', 'n')).toEqual(['v', '1']);
  });
});
