/**
 * What the source answered decides, not what was sent: transactions that requests share, and what
 * becomes of writes whose connection ends.
 */
import { Socket } from 'node:net';
import { Command, Redis, type RedisOptions, ReplyError } from 'ioredis';
import { afterAll, afterEach, beforeAll, describe, expect, it, onTestFinished } from 'vitest';
import { createDualWriter, type DualWriter } from '../../src/dual-write/dual-writer.js';
import { Connections } from '../../src/dual-write/source/connection.js';
import { observe } from '../../src/dual-write/source/observe-command.js';
import { observeSource } from '../../src/dual-write/source/observe-source.js';
import { mirrorOptions } from '../../src/dual-write/target/mirror-options.js';
import { type FaultProxy, startProxy } from '../../src/stack/proxy.js';
import { eventually } from '../support/eventually.js';
import { keysOf } from '../support/keys.js';
import { type Bed, settled, startBed } from './bed.js';
import { differing, expectEqualAfterRepair } from './repair.js';

let bed: Bed;
beforeAll(async () => {
  bed = await startBed();
});
afterEach(() => bed.reset());
afterAll(() => bed.stop());

function failures(): unknown[][] {
  return bed.sink.records.map(({ key, outcome, error }) => [key, outcome, error?.code]);
}
const unknown = (...keys: string[]) => keys.map((key) => [key, 'unknown', 'SOURCE_UNKNOWN']);

/** A faulty link to the source, gone after the test. */
async function linkToSource(): Promise<FaultProxy> {
  const link = await startProxy({ target: { host: '127.0.0.1', port: bed.source.port } });
  onTestFinished(() => link.close());
  return link;
}

/** Not `once` of node:events, which gives up at the first error: a client goes on trying. */
function event(client: Redis, name: string): Promise<void> {
  return new Promise((resolve) => client.once(name, () => resolve()));
}

/** The connection is lost, and another one there. */
async function reconnected(client: Redis, link: FaultProxy): Promise<void> {
  const ready = event(client, 'ready');
  link.cut();
  link.restore();
  await ready;
}

/** What the application sees of each call, one after the other or all in one turn. */
type Use = (redis: Redis) => Promise<unknown>[];

async function seen(calls: Promise<unknown>[]): Promise<unknown[]> {
  const outcomes = await Promise.allSettled(calls);
  return outcomes.map((outcome) => (outcome.status === 'fulfilled' ? outcome.value : outcome.reason.message));
}

const modes = [
  ['normal', {}],
  ['transactional', { transactional: {} }],
] as const;

describe.each(modes)('requests that share the one connection (%s mode)', (_, more) => {
  const shared: [string, Use][] = [
    [
      'two transactions command by command',
      (redis) => [
        redis.multi({ pipeline: false }),
        redis.set('a', '1'),
        redis.multi({ pipeline: false }),
        redis.set('b', '1'),
        redis.get('a'),
        redis.exec(),
        redis.incr('c'),
        redis.exec(),
      ],
    ],
    [
      'one command by command, and one in a pipeline',
      (redis) => [
        redis.multi({ pipeline: false }),
        redis.set('a', '1'),
        redis.multi().set('b', '1').incr('c').exec(),
        redis.incr('c'),
        redis.exec(),
        redis.set('d', '1'),
      ],
    ],
    [
      'one that is discarded by the other',
      (redis) => [
        redis.multi({ pipeline: false }),
        redis.set('a', '1'),
        redis.multi({ pipeline: false }),
        redis.discard(),
        redis.set('b', '1'),
        redis.exec(),
      ],
    ],
    [
      'one that is refused for a wrong command of the other',
      (redis) => [
        redis.multi({ pipeline: false }),
        redis.set('a', '1'),
        redis.call('SET', 'wrong'),
        redis.multi().set('b', '1').exec(),
        redis.set('c', '1'),
        redis.exec(),
      ],
    ],
  ];

  it.each(shared)('%s: replies are the source’s, and all that it did is mirrored', async (_, use) => {
    const plain = new Redis(bed.source.port, '127.0.0.1', { protocol: 2, db: 1 });
    onTestFinished(() => plain.disconnect());
    const expected = await seen(use(plain));
    const writer = await bed.writer({ more });
    expect(await seen(use(writer))).toEqual(expected);
    await settled(writer);
    expect(bed.sink.records).toEqual([]);
    expect(await differing(bed)).toEqual([]);
    expect(writer.stats()).toMatchObject({ unanswered: 0, uncovered: 0 });
    await eventually(async () => expect(await bed.source.client.xlen('keymend:outbox')).toBe(0));
  });

  it('a command that is refused here aborts the transaction that the connection is in', async () => {
    const writer = await bed.writer({ more });
    const calls = [
      writer.multi({ pipeline: false }),
      writer.set('a', '1'),
      writer.flushall(),
      writer.multi().set('b', '1').exec(),
      writer.set('c', '1'),
    ];
    const outcomes = await seen(calls);
    expect(outcomes[2]).toMatch(/^FLUSHALL is refused/);
    expect(outcomes[3]).toBe('EXECABORT Transaction discarded because of previous errors.');
    await settled(writer);
    expect(await keysOf(bed.target.client)).toEqual(['c']);
    expect(await differing(bed)).toEqual([]);
  });
});

it('a question about an unknown command goes behind a transaction that is on its way, and not into an open one', async () => {
  const writer = await bed.writer();
  // The first pipeline waits for what the source has.
  await writer.pipeline().ping().exec();
  const calls = [writer.multi().incr('n').exec(), writer.call('NO.SUCH'), writer.incr('n')];
  expect(await seen(calls)).toEqual([[[null, 1]], expect.stringMatching(/^ERR unknown command/), 2]);
  const inside = [writer.multi({ pipeline: false }), writer.call('NO.SUCH'), writer.incr('n'), writer.exec()];
  expect((await seen(inside))[3]).toMatch(/^EXECABORT/);
  await settled(writer);
  expect(bed.sink.records).toEqual([]);
  expect(await differing(bed)).toEqual([]);
});

describe('an EXEC that answers more than was sent through the writer', () => {
  /** With the source client at hand, which an application should leave alone. */
  async function create(more: object): Promise<{ source: Redis; writer: DualWriter }> {
    const source = new Redis(bed.source.port, '127.0.0.1', { protocol: 2 });
    const target = new Redis(bed.target.port, '127.0.0.1', mirrorOptions(2000));
    await event(target, 'ready');
    onTestFinished(() => {
      source.disconnect();
      target.disconnect();
    });
    const writer = createDualWriter({ ...bed.names, source, target, records: bed.sink, onError() {}, ...more });
    return { source, writer };
  }

  async function half({ source, writer }: Awaited<ReturnType<typeof create>>): Promise<unknown> {
    await writer.multi({ pipeline: false });
    await writer.set('a', '1');
    await source.set('past', '1');
    await writer.incr('b');
    return writer.exec().catch((error: unknown) => error);
  }

  it('has all that was queued recorded', async () => {
    expect(await half(await create({}))).toEqual([
      [null, 'OK'],
      [null, 'OK'],
      [null, 1],
    ]);
    await bed.sink.have(2);
    expect(failures()).toEqual(unknown('a', 'b'));
  });

  it('rejects in transactional mode, where its replies are not the application’s alone', async () => {
    const error = await half(await create({ transactional: {} }));
    expect(String(error)).toMatch(/^Error: the source carried out a transaction [^\n]+$/);
    await bed.sink.have(2);
    expect(failures()).toEqual(unknown('a', 'b'));
    expect(await bed.source.client.xlen('keymend:outbox')).toBe(2);
  });
});

describe('a value that reads QUEUED', () => {
  const commands: [string, string[]][] = [
    ['GETSET', ['text', 'new']],
    ['SET', ['text', 'new', 'GET']],
    ['GETDEL', ['text']],
    ['LPOP', ['list']],
    ['SPOP', ['set']],
  ];
  const prepare = async () => {
    for (const { client } of [bed.source, bed.target]) {
      await client.multi().set('text', 'QUEUED').rpush('list', 'QUEUED').sadd('set', 'QUEUED').exec();
    }
  };

  it.each(commands)(
    'is a reply of %s, not a command in a transaction that ended with its connection',
    async (name, args) => {
      const link = await linkToSource();
      const writer = await bed.writer({ source: { port: link.port, retryStrategy: () => 1 } });
      await prepare();
      await writer.multi({ pipeline: false });
      await writer.set('a', '1');
      await reconnected(writer, link);
      expect(await writer.call(name, ...args)).toBe('QUEUED');
      await settled(writer);
      expect(writer.stats().mirrored).toBe(1);
      expect(await differing(bed)).toEqual([]);
      expect(writer.stats().unanswered).toBe(0);
    },
  );

  it('is none either where the source did not begin the transaction', async () => {
    const writer = await bed.writer();
    await prepare();
    await bed.source.client.call('ACL', 'SETUSER', 'default', '-multi');
    onTestFinished(async () => void (await bed.source.client.call('ACL', 'SETUSER', 'default', '+@all')));
    await expect(writer.multi({ pipeline: false })).rejects.toThrow('NOPERM');
    expect(await writer.getset('text', 'new')).toBe('QUEUED');
    await settled(writer);
    expect(await differing(bed)).toEqual([]);
  });
});

describe('when a connection to the source ends', () => {
  /** Writes that the source has got, and will not answer over this connection. */
  async function written(writer: DualWriter, link: FaultProxy): Promise<void> {
    link.swallow();
    for (let n = 0; n < 3; n++) writer.set(`k${n}`, '1').catch(() => {});
    await new Promise((resolve) => setImmediate(resolve));
    expect(writer.stats().unanswered).toBe(3);
  }

  it('its writes are recorded if they are not sent again, though their promises stay open', async () => {
    const link = await linkToSource();
    const writer = await bed.writer({
      source: { port: link.port, autoResendUnfulfilledCommands: false, retryStrategy: () => 1 },
    });
    await written(writer, link);
    await reconnected(writer, link);
    await bed.sink.have(3);
    expect(failures()).toEqual(unknown('k0', 'k1', 'k2'));
    expect(writer.stats().unanswered).toBe(0);
    expect((await writer.close()).unanswered).toEqual([]);
  });

  it('and the client with it, what waits to be sent again is recorded', async () => {
    const link = await linkToSource();
    const writer = await bed.writer({ source: { port: link.port, retryStrategy: () => 1 } });
    await written(writer, link);
    const accepted = event(writer, 'connect');
    link.cut();
    link.restore();
    link.swallow();
    await accepted;
    writer.disconnect();
    link.cut();
    await bed.sink.have(3);
    expect(failures()).toEqual(unknown('k0', 'k1', 'k2'));
    expect(writer.stats().unanswered).toBe(0);
  });

  it.each([true, false])('an EXEC on its way (sent again: %s) has all recorded that was queued', async (again) => {
    const link = await linkToSource();
    const writer = await bed.writer({
      source: { port: link.port, autoResendUnfulfilledCommands: again, retryStrategy: () => 1 },
    });
    await writer.multi({ pipeline: false });
    await writer.set('a', '1');
    await writer.incr('b');
    link.swallow();
    writer.exec().catch(() => {});
    await new Promise((resolve) => setImmediate(resolve));
    link.cut();
    link.restore();
    await bed.sink.have(2);
    expect(failures()).toEqual(unknown('a', 'b'));
    expect(writer.stats().unanswered).toBe(0);
  });

  it('a transaction without EXEC is known to have done nothing', async () => {
    const link = await linkToSource();
    const writer = await bed.writer({ source: { port: link.port, retryStrategy: () => 1 } });
    await writer.multi({ pipeline: false });
    await writer.set('a', '1');
    await reconnected(writer, link);
    await expect(writer.exec()).rejects.toThrow('EXEC without MULTI');
    await settled(writer);
    expect(bed.sink.records).toEqual([]);
    expect(writer.stats().unanswered).toBe(0);
  });

  const refusedLater: [string, (writer: DualWriter) => Promise<unknown>, () => Promise<unknown>][] = [
    ['write', (writer) => writer.rpush('k', 'x'), () => bed.source.client.replicaof('127.0.0.1', 1)],
    [
      'transaction',
      (writer) => writer.multi().rpush('k', 'x').exec(),
      () => bed.source.client.replicaof('127.0.0.1', 1),
    ],
    [
      'transaction of which a part',
      (writer) => writer.multi().rpush('k', 'x').incr('n').exec(),
      () => bed.source.client.call('ACL', 'SETUSER', 'default', '-incr'),
    ],
    [
      'write in a transaction',
      (writer) => writer.multi().set('other', '1').rpush('k', 'x').exec(),
      () => bed.source.client.set('k', 'no list'),
    ],
  ];
  it.each(refusedLater)(
    'a %s that was carried out, and refused when it was sent again, is recorded',
    async (_, write, refuse) => {
      const link = await linkToSource();
      const writer = await bed.writer({ source: { port: link.port, retryStrategy: () => 1 } });
      const allow = () =>
        bed.source.client
          .pipeline([
            ['replicaof', 'NO', 'ONE'],
            ['acl', 'SETUSER', 'default', '+@all'],
          ])
          .exec();
      onTestFinished(async () => void (await allow()));
      link.slow(1000);
      const outcome = write(writer).catch((error: unknown) => error);
      await eventually(async () => expect(await bed.source.client.exists('k')).toBe(1));
      link.cut();
      await refuse();
      link.restore();
      await outcome;
      await settled(writer);
      expect(failures()).toContainEqual(['k', 'unknown', 'SOURCE_UNKNOWN']);
      await allow();
      await expectEqualAfterRepair(bed, bed.sink.records);
    },
  );
});

describe('a write that the source never answers', () => {
  const names = ({ command, keys }: { command: string; keys: readonly Buffer[] }) => `${command} ${keys.join()}`;

  /** Observes a client, and tells what becomes unknown. */
  function observed(options: Pick<RedisOptions, 'port' | 'lazyConnect' | 'retryStrategy'>, maxAgeMs: number) {
    const client = new Redis({ ...options, host: '127.0.0.1', protocol: 2 });
    onTestFinished(() => client.disconnect());
    const told: string[] = [];
    const source = observeSource(
      client,
      {
        accepted: () => undefined,
        isReplica() {},
        refused() {},
        unknown: (writes) => void told.push(...writes.map(names)),
      },
      { maxAgeMs },
    );
    const redis = new Proxy(client, {
      get: (of, name) => (name === 'sendCommand' ? source.sendCommand : Reflect.get(of, name)),
    });
    return { redis, told, unanswered: source.unanswered };
  }

  it('is told after a while, once, however its connection looks; those that may block later', async () => {
    const link = await linkToSource();
    const { redis, told, unanswered } = observed({ port: link.port }, 60);
    await redis.ping();
    link.swallow();
    for (const work of [redis.blpop('b', 0.2), redis.set('a', '1'), redis.get('a')]) work.catch(() => {});
    await eventually(() => expect(told).toEqual(['SET a', 'BLPOP b']));
    for (const work of [redis.set('c', '1'), redis.blpop('d', 0)]) work.catch(() => {});
    await eventually(() => expect(told).toEqual(['SET a', 'BLPOP b', 'SET c']));
    expect(unanswered.size).toBe(4);
    link.release();
    await eventually(() => expect(unanswered.size).toBe(1));
  });

  it('because it was never sent, is not told', async () => {
    const link = await linkToSource();
    const unsent = observed({ port: link.port, lazyConnect: true }, 20);
    const sent = observed({ port: link.port }, 60);
    await sent.redis.ping();
    link.swallow();
    for (const { redis } of [unsent, sent]) redis.set('a', '1').catch(() => {});
    await eventually(() => expect(sent.told).toEqual(['SET a']));
    expect(unsent.told).toEqual([]);
    expect(unsent.unanswered.size).toBe(1);
  });
});

it('an error that is not the answer to a command leaves open whether it was carried out', () => {
  const command = new Command('SET', ['k', 'v']);
  const told: string[] = [];
  observe(command, new Connections(() => {}), {
    answered: () => undefined,
    refused: () => told.push('refused'),
    lost: () => told.push('lost'),
  });
  command.promise.catch(() => {});
  command.toWritable(new Socket());
  // As ioredis rejects all that waits when a password is wrong, at the handshake.
  command.reject(Object.assign(new ReplyError('WRONGPASS'), { command: { name: 'auth', args: ['wrong'] } }));
  expect(told).toEqual(['lost']);
});

describe('a command that answers with an error, and has done a part of its work', () => {
  it.each<[string, (writer: DualWriter, args: string[]) => Promise<unknown>]>([
    ['MIGRATE of several keys', (writer, args) => writer.call('MIGRATE', ...args)],
    [
      'MIGRATE in a transaction',
      (writer, args) =>
        writer
          .multi()
          .call('MIGRATE', ...args)
          .exec(),
    ],
  ])('(%s) is recorded for all of its keys', async (_, run) => {
    const writer = await bed.writer();
    await writer.mset('a', '1', 'b', '1', 'c', '1');
    await settled(writer);
    const elsewhere = new Redis(bed.target.port, '127.0.0.1', { db: 1 });
    onTestFinished(() => elsewhere.disconnect());
    await elsewhere.set('b', 'busy');
    const args = ['127.0.0.1', `${bed.target.port}`, '', '1', '5000', 'KEYS', 'a', 'b', 'c'];
    const outcome = await run(writer, args).catch((error: unknown) => error);
    expect(String(outcome)).toContain('BUSYKEY');
    await settled(writer);
    expect(await keysOf(bed.source.client)).toEqual(['b']);
    expect(failures()).toEqual(unknown('a', 'b', 'c'));
    await expectEqualAfterRepair(bed, bed.sink.records);
  });

  it('(PFADD to a broken HyperLogLog) is recorded', async () => {
    const writer = await bed.writer();
    await writer.pfadd('k', ...elements('before', 50));
    const whole = await writer.getBuffer('k');
    // Without the last of its runs.
    await writer.set('k', whole!.subarray(0, -2));
    const fails = async () => {
      for (let turn = 0; ; turn++) await writer.pfadd('k', ...elements(`${turn}:`, 40));
    };
    await expect(fails()).rejects.toThrow('INVALIDOBJ');
    await settled(writer);
    expect(failures()).toContainEqual(['k', 'unknown', 'SOURCE_UNKNOWN']);
    await expectEqualAfterRepair(bed, bed.sink.records);
  });
});

function elements(prefix: string, count: number): string[] {
  return Array.from({ length: count }, (_, index) => `${prefix}${index}`);
}
