import { Redis } from 'ioredis';
import { afterAll, afterEach, beforeAll, describe, expect, it, vi } from 'vitest';
import { createDualWriter } from '../../src/dual-write/dual-writer.js';
import { mirrorOptions } from '../../src/dual-write/target/mirror-options.js';
import { keysOf } from '../support/keys.js';
import { type Bed, settled, startBed, unexpected } from './bed.js';

let bed: Bed;
beforeAll(async () => {
  bed = await startBed();
});
afterEach(() => bed.reset());
afterAll(() => bed.stop());

/** All keys of a server with their expiry and content; what has no order is sorted. */
async function content(client: Redis): Promise<Record<string, unknown>> {
  const keys = await keysOf(client);
  const entries = keys.map(async (key) => [key, [await client.call('PEXPIRETIME', key), await readKey(client, key)]]);
  return Object.fromEntries(await Promise.all(entries));
}

async function readKey(client: Redis, key: string): Promise<unknown> {
  switch (await client.type(key)) {
    case 'hash':
      return client.hgetall(key);
    case 'set':
      return (await client.smembers(key)).sort();
    case 'zset':
      return client.zrange(key, '0', '-1', 'WITHSCORES');
    case 'list':
      return client.lrange(key, 0, -1);
    case 'stream':
      return client.xrange(key, '-', '+');
    default:
      return client.get(key);
  }
}

async function expectEqualSides(): Promise<void> {
  expect(await content(bed.target.client)).toEqual(await content(bed.source.client));
}

describe('a DualWriter on a healthy link', () => {
  it('replies and fails as plain ioredis does, and the target gets every write', async () => {
    type Script = (client: Redis) => Promise<unknown[]>;
    const script: Script = async (client) => {
      client.defineCommand('setTwice', { numberOfKeys: 1, lua: "redis.call('SET', KEYS[1], ARGV[1]); return ARGV[1]" });
      const outcomes = await Promise.allSettled([
        client.set('s', 'v'),
        client.set('s', 'w', 'NX'),
        client.get('s'),
        client.getBuffer('s'),
        client.hset('h', { a: 1, b: 2 }),
        client.hgetall('h'),
        client.mset(
          new Map([
            ['m1', '1'],
            ['m2', '2'],
          ]),
        ),
        client.call('SADD', 'set', 'x', 'y'),
        client.zadd('z', 1, 'one', 2, 'two'),
        client.zrange('z', '0', '-1', 'WITHSCORES'),
        client.incr('s'),
        client.lpush('l', 'a', 'b', 'c'),
        client.rpoplpush('l', 'l2'),
        client.blpop('l', 1),
        client.pipeline().set('p', '1').incr('p').lpush('p', 'x').get('p').exec(),
        client.multi().incr('tx').get('tx').sadd('tx2', 'm').exec(),
        client.multi().incr('s').incr('tx').exec(),
        (client as unknown as { setTwice(key: string, value: string): Promise<string> }).setTwice('lua', 'v'),
        client.set('wrong' as string, 'arity', 'BAD' as 'GET'),
        client.del('m1', 'nowhere'),
      ]);
      return outcomes.map((outcome) => (outcome.status === 'fulfilled' ? outcome.value : outcome.reason));
    };
    const plain = new Redis(bed.source.port, '127.0.0.1', { protocol: 2, db: 1 });
    try {
      const writer = await bed.writer();
      const replies = await script(writer);
      expect(replies).toEqual(await script(plain));
      await settled(writer);
      // What ran a script is recorded instead of sent.
      expect(bed.sink.records.map(({ key }) => key)).toEqual(['lua']);
      await bed.source.client.del('lua');
      await expectEqualSides();
    } finally {
      plain.disconnect();
    }
  });

  it('calls callbacks and passes events on', async () => {
    const writer = await bed.writer();
    const reply = await new Promise((resolve, reject) =>
      writer.set('k', 'v', (error, result) => (error ? reject(error) : resolve(result))),
    );
    expect(reply).toBe('OK');
    const ended = new Promise((resolve) => writer.once('end', () => resolve('ended')));
    await writer.quit();
    expect(await ended).toBe('ended');
  });

  it('can be connected by the application, and then too mirrors each write once', async () => {
    const source = new Redis({ port: bed.source.port, protocol: 2, lazyConnect: true, db: 1 });
    const target = new Redis(bed.target.port, '127.0.0.1', mirrorOptions());
    try {
      const writer = createDualWriter({ ...bed.names, source, target, records: bed.sink, onError: () => {} });
      await writer.connect();
      await writer.incr('n');
      while (writer.stats().mirrored === 0 && bed.sink.records.length === 0) await writer.incr('n');
      await settled(writer);
      const written = Number(await writer.get('n'));
      expect(writer.stats().mirrored + bed.sink.records.length).toBe(written);
      expect(await bed.source.client.exists('n')).toBe(0);
    } finally {
      source.disconnect();
      target.disconnect();
    }
  });

  it('sends every write once, in the order of the replies of the source', async () => {
    const writer = await bed.writer();
    const jobs: Promise<unknown>[] = [];
    for (let turn = 0; turn < 300; turn++) {
      jobs.push(writer.append('log', `${turn},`), writer.rpush('list', turn));
      if (turn % 10 === 0) jobs.push(writer.pipeline().append('log', 'p,').incr('n').exec());
      if (turn % 25 === 0) jobs.push(writer.multi().append('log', 'tx,').rpush('list', 'tx').exec());
    }
    await Promise.all(jobs);
    await settled(writer);
    await expectEqualSides();
    expect(bed.sink.records).toEqual([]);
  });

  it.each([2, 3] as const)(
    'mirrors by effect what would do something else on the target (RESP%i)',
    async (protocol) => {
      const writer = await bed.writer({ source: { protocol } });
      await writer.sadd('set', ...Array.from({ length: 200 }, (_, index) => `m${index}`));
      await Promise.all([writer.spop('set'), writer.spop('set', 50), writer.spop('none'), writer.spop('none', 2)]);
      await writer.xadd('stream', '*', 'field', 'value');
      await writer.xadd('stream', 'MAXLEN', '~', 100, '*', '*', '1-1');
      await writer.multi().spop('set', 10).xadd('stream', '*', 'a', 'b').exec();
      await writer.xadd('none', 'NOMKSTREAM', '*', 'a', 'b');
      await settled(writer);
      expect(await bed.target.client.scard('set')).toBe(139);
      expect(await bed.target.client.xlen('stream')).toBe(3);
      await expectEqualSides();
      expect(bed.sink.records).toEqual([]);
    },
  );

  it.each([2, 3] as const)(
    'understands what the source answers about scores and elements (RESP%i)',
    async (protocol) => {
      const writer = await bed.writer({ source: { protocol } });
      const scored = Array.from({ length: 20 }, (_, index) => [index / 7, `m${index}`]).flat();
      await writer.zadd('z', ...(scored as string[]));
      await writer.rpush('l', ...Array.from({ length: 20 }, (_, index) => `e${index}`));
      await writer.hset('h', { f: '1.5' });
      await writer.geoadd('geo', 13.361389, 38.115556, 'Palermo');
      const transaction = writer
        .multi()
        .zpopmin('z')
        .zpopmax('z', 2)
        .zincrby('z', 0.1, 'm10')
        .call('ZMPOP', 1, 'z', 'MAX');
      const replies = await Promise.all([
        writer.zpopmin('z'),
        writer.zpopmax('z', 3),
        writer.zpopmin('none'),
        writer.bzpopmin('none', 'z', 1),
        writer.bzpopmax('none', 0.01),
        writer.call('ZMPOP', 2, 'none', 'z', 'MIN', 'COUNT', 2),
        writer.call('BZMPOP', 1, 1, 'z', 'MAX'),
        writer.zincrby('z', 0.1, 'm9'),
        writer.zincrby('z', '1e300', 'large'),
        writer.zincrby('z', 'inf', 'endless'),
        writer.zadd('z', 'INCR', 0.2, 'm9'),
        writer.zadd('z', 'XX', 'INCR', 1, 'none'),
        writer.zadd('z', 'XX', 'CH', 5, 'm8'),
        writer.incrbyfloat('float', 0.1),
        writer.incrbyfloat('float', 0.2),
        writer.hincrbyfloat('h', 'f', 0.1),
        writer.blpop('none', 'l', 1),
        writer.lpop('l', 2),
        writer.call('LMPOP', 1, 'l', 'RIGHT', 'COUNT', 2),
        writer.call('BLMPOP', 1, 1, 'l', 'LEFT'),
        writer.blmove('l', 'l2', 'LEFT', 'RIGHT', 1),
        writer.setnx('nx', 1),
        writer.setnx('nx', 2),
        writer.set('nx', '3', 'GET'),
        writer.getdel('nx'),
        transaction.exec(),
      ]);
      expect(replies).toHaveLength(26);
      await settled(writer);
      await expectEqualSides();
      expect(bed.sink.records).toEqual([]);
    },
  );

  it.each([-120_000, 600_000])('lets a key expire by no clock of its own: %i ms wrong', async (wrongMs) => {
    const writer = await bed.writer();
    const now = Date.now.bind(Date);
    const clock = vi.spyOn(Date, 'now').mockImplementation(() => now() + wrongMs);
    try {
      await writer.set('k', 'v', 'EX', 60);
      await writer.hset('h', 'f', 'v');
      await writer.expire('h', 60);
      await settled(writer);
    } finally {
      clock.mockRestore();
    }
    for (const key of ['k', 'h']) {
      const left = await bed.target.client.pttl(key);
      expect(left).toBeLessThanOrEqual(60_000);
      expect(left).toBeGreaterThan(0);
    }
    expect(unexpected(bed.sink.records)).toEqual([]);
  });

  it('lets a key expire on the target at the same time, however late the write gets there', async () => {
    const writer = await bed.writer({ timeoutMs: 20_000 });
    bed.link.slow(2_000);
    await writer.mset('expire', 'v', 'getex', 'v', 'restore', 'v');
    // By the first answer the writer knows how far away the target is.
    await settled(writer);
    const payload = await bed.source.client.dumpBuffer('restore');
    await writer.set('set', 'v', 'EX', 100);
    await writer.psetex('psetex', 100_000, 'v');
    await writer.expire('expire', 100);
    await writer.getex('getex', 'PX', 100_000);
    await writer.restore('restore', 100_000, payload!, 'REPLACE');
    await settled(writer);
    for (const key of ['set', 'psetex', 'expire', 'getex', 'restore']) {
      const [source, target] = await Promise.all(
        [bed.source, bed.target].map(({ client }) => client.call('PEXPIRETIME', key) as Promise<number>),
      );
      // A time to live that begins when it gets there would end two seconds later.
      expect(Math.abs(target! - source!), key).toBeLessThan(1_500);
    }
    expect(unexpected(bed.sink.records)).toEqual([]);
  });

  it('carries binary keys and values byte by byte, with the key prefix of the source', async () => {
    const writer = await bed.writer({ source: { keyPrefix: 'app:' } });
    const key = Buffer.from([0xff, 0x00, 0xfe]);
    const value = Buffer.from([0x80, 0x0d, 0x0a, 0x00]);
    const reused = Buffer.from(value);
    const written = writer.set(key, reused);
    await new Promise((resolve) => setImmediate(resolve));
    // The application may reuse a buffer that ioredis has written.
    reused.fill(0);
    await written;
    await settled(writer);
    const full = Buffer.concat([Buffer.from('app:'), key]);
    expect(await bed.source.client.getBuffer(full)).toEqual(value);
    expect(await bed.target.client.getBuffer(full)).toEqual(value);
  });

  it('mirrors nothing that the source did not do', async () => {
    const writer = await bed.writer();
    const watcher = bed.source.client;
    await writer.set('k', 'v');
    await expect(writer.incr('k')).rejects.toThrow('not an integer');
    await writer
      .multi()
      .set('k', 'discarded')
      .exec()
      .catch(() => {});
    await writer.watch('watched');
    await watcher.set('watched', 'changed');
    expect(await writer.multi().set('k', 'aborted').exec()).toBeNull();
    await writer.multi({ pipeline: false });
    await writer.set('k', 'discarded');
    await writer.discard();
    await settled(writer);
    expect(writer.stats().mirrored).toBe(2);
    expect(await bed.target.client.get('k')).toBe('discarded');
    expect(bed.sink.records).toEqual([]);
  });

  it('mirrors of a transaction what the source carried out', async () => {
    const writer = await bed.writer();
    await writer.set('text', 'v');
    const results = await writer.multi().set('a', '1').incr('text').set('b', '2').exec();
    expect(results?.map(([error]) => error?.name)).toEqual([undefined, 'ReplyError', undefined]);
    await settled(writer);
    await expectEqualSides();
    expect(bed.sink.records).toEqual([]);
  });

  it('mirrors a transaction that was sent command by command', async () => {
    const writer = await bed.writer();
    await writer.multi({ pipeline: false });
    await writer.set('a', '1');
    await writer.get('a');
    await writer.incr('a');
    await writer.exec();
    await settled(writer);
    expect(await bed.target.client.get('a')).toBe('2');
    expect(writer.stats().mirrored).toBe(1);
  });

  it('records a write that had an effect on one side only', async () => {
    await bed.target.client.rpush('queue', 'left over');
    await bed.source.client.rpush('queue', 'first');
    await bed.source.client.set('gone', 'v');
    const writer = await bed.writer();
    expect(await writer.lmove('queue', 'done', 'LEFT', 'RIGHT')).toBe('first');
    expect(await writer.del('gone')).toBe(1);
    const records = await bed.sink.have(3);
    expect(records.map(({ key, error }) => [key, error?.code])).toEqual([
      ['queue', 'REPLY_DIFFERS'],
      ['done', 'REPLY_DIFFERS'],
      ['gone', 'REPLY_DIFFERS'],
    ]);
  });

  it('gives the target what a condition allowed on the source, whatever the target has', async () => {
    await bed.target.client.set('lock', 'left over');
    await bed.source.client.set('held', 'by another');
    const writer = await bed.writer();
    expect(await writer.setnx('lock', 'mine')).toBe(1);
    expect(await writer.set('held', 'mine', 'NX')).toBeNull();
    await settled(writer);
    expect(await bed.target.client.mget('lock', 'held')).toEqual(['mine', null]);
    expect(bed.sink.records).toEqual([]);
  });
});

describe('a DualWriter refuses', () => {
  const oneLine = /^[^\n]+ is refused on a DualWriter: [^\n]+$/;

  it.each([
    ['SELECT', ['1']],
    ['FLUSHALL', []],
    ['flushdb', []],
    ['SWAPDB', ['0', '1']],
    ['MOVE', ['k', '1']],
    ['COPY', ['a', 'b', 'DB', '1']],
    ['EVAL', ['return 1', '0']],
  ])('%s, whose keys it can not follow', async (command, args) => {
    const writer = await bed.writer();
    await bed.source.client.set('k', 'v');
    await expect(writer.call(command, ...args)).rejects.toThrow(oneLine);
    expect(await bed.source.client.get('k')).toBe('v');
    expect(await writer.ping()).toBe('PONG');
  });

  it('a command inside a pipeline, and only that', async () => {
    const writer = await bed.writer();
    const results = await writer.pipeline().set('a', '1').flushall().set('b', '2').exec();
    expect(results?.map(([error, result]) => error?.message ?? result)).toEqual([
      'OK',
      expect.stringMatching(oneLine),
      'OK',
    ]);
    expect(await bed.source.client.mget('a', 'b')).toEqual(['1', '2']);
  });

  it('a transaction that holds such a command, as a whole', async () => {
    const writer = await bed.writer();
    await expect(writer.multi().set('a', '1').flushall().exec()).rejects.toMatchObject({
      message: 'EXECABORT Transaction discarded because of previous errors.',
      previousErrors: [{ message: expect.stringMatching(/^FLUSHALL is refused/) }],
    });
    await writer.multi({ pipeline: false });
    await writer.set('a', '1');
    await expect(writer.flushall()).rejects.toThrow(oneLine);
    await expect(writer.exec()).rejects.toThrow(/EXECABORT/);
    expect(await bed.source.client.exists('a')).toBe(0);
    expect(await writer.set('after', '1')).toBe('OK');
  });

  it('the same with auto-pipelining', async () => {
    const writer = await bed.writer({ source: { enableAutoPipelining: true } });
    const outcomes = await Promise.allSettled([writer.set('a', '1'), writer.flushall(), writer.get('a')]);
    expect(outcomes.map(({ status }) => status)).toEqual(['fulfilled', 'rejected', 'fulfilled']);
    await settled(writer);
    expect(await bed.target.client.get('a')).toBe('1');
  });

  it('to be duplicated, because the copy would not mirror', async () => {
    const writer = await bed.writer();
    expect(() => writer.duplicate()).toThrow(/duplicate the source client/);
  });

  it('a target client whose options could make a late or double write, naming each', () => {
    const source = new Redis({ lazyConnect: true });
    const create = (target: Redis) =>
      createDualWriter({ ...bed.names, source, target, records: bed.sink, onError: () => {} });
    expect(() => create(new Redis({ lazyConnect: true }))).toThrow(
      /enableOfflineQueue.*autoResendUnfulfilledCommands.*maxRetriesPerRequest.*commandTimeout.*mirrorOptions/,
    );
    const safe = mirrorOptions();
    expect(() => create(new Redis({ ...safe, lazyConnect: true, keyPrefix: 'p:' }))).toThrow(/keyPrefix/);
    expect(() => create(new Redis({ ...safe, lazyConnect: true, reconnectOnError: () => 2 }))).toThrow(
      /reconnectOnError/,
    );
  });
});
