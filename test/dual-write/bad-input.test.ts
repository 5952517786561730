import { Cluster, Command, Redis } from 'ioredis';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { createDualWriter, type DualWriter, type DualWriterOptions } from '../../src/dual-write/dual-writer.js';
import { mirrorOptions } from '../../src/dual-write/target/mirror-options.js';
import { keysOf } from '../support/keys.js';
import { type Bed, settled, startBed } from './bed.js';
import { expectEqualAfterRepair } from './repair.js';

let bed: Bed;
beforeAll(async () => {
  bed = await startBed([], ['--proto-max-bulk-len', '1mb']);
});
afterEach(() => bed.reset());
afterAll(() => bed.stop());

/** Not connected: what is refused is refused before that. */
function client(port: number, options = {}): Redis {
  return new Redis(port, '127.0.0.1', { lazyConnect: true, ...options });
}

function create(over: Partial<DualWriterOptions> = {}) {
  const source = client(1);
  const target = client(2, mirrorOptions());
  return createDualWriter({ ...bed.names, source, target, records: bed.sink, onError: () => {}, ...over });
}

const oneLine = (text: RegExp) => new RegExp(`^[^\\n]*${text.source}[^\\n]*$`);

describe('a DualWriter is not created', () => {
  it('with the source as its own target', () => {
    const both = client(1, mirrorOptions());
    const same = /source and target of the DualWriter are the same Redis: every write would be done twice/;
    expect(() => create({ source: both, target: both })).toThrow(oneLine(same));
    expect(() => create({ target: client(1, mirrorOptions()) })).toThrow(oneLine(same));
    expect(() => create({ target: client(1, { ...mirrorOptions(), db: 1 }) })).not.toThrow();
  });

  it('with a client that an older ioredis has made, beside which a right one is installed', () => {
    const older = (made: Redis) => new Proxy(made, { has: (of, name) => name !== 'himport' && name in of });
    const refusal = oneLine(/the DualWriter needs clients of ioredis 6: npm install ioredis@6/);
    expect(() => create({ source: older(client(1)) })).toThrow(refusal);
    expect(() => create({ target: older(client(2, mirrorOptions())) })).toThrow(refusal);
  });

  it('with a source client for reading', () => {
    expect(() => create({ source: client(1, { readOnly: true }) })).toThrow(oneLine(/readOnly set: give it a client/));
  });

  it('with a source client that answers blocking commands by itself', () => {
    const refusal = oneLine(/blockingTimeout \(100\) set: .*so a pop would be lost; set socketTimeout instead/);
    expect(() => create({ source: client(1, { blockingTimeout: 100 }) })).toThrow(refusal);
    expect(() => create({ source: client(1, { blockingTimeout: 0 }) })).not.toThrow();
    const cluster = new Cluster([{ port: 1 }], { lazyConnect: true, redisOptions: { blockingTimeout: 100 } });
    expect(() => create({ source: cluster as unknown as Redis })).toThrow(refusal);
  });

  it('with a target client that adds a prefix or is made for something else', () => {
    const unsafe = (options: object) => () => create({ target: client(2, { ...mirrorOptions(), ...options }) });
    expect(unsafe({ keyPrefix: 'p:' })).toThrow(oneLine(/keyPrefix \(set it on the source alone\); use new Redis/));
    expect(unsafe({ readOnly: true })).toThrow(oneLine(/readOnly/));
    expect(unsafe({ role: 'slave' })).toThrow(oneLine(/role \(must be master\)/));
    expect(unsafe({ monitor: true })).toThrow(oneLine(/monitor/));
    expect(unsafe({ retryStrategy: null })).toThrow(oneLine(/retryStrategy/));
  });

  it('with a target client that is connected already, when its options are unsafe', async () => {
    const target = new Redis(bed.target.port, '127.0.0.1');
    try {
      await target.ping();
      expect(() => create({ target })).toThrow(oneLine(/enableOfflineQueue.*commandTimeout/));
    } finally {
      target.disconnect();
    }
  });

  it('with a link or an origin that no record could name', () => {
    const refusal = oneLine(/link of the DualWriter must be the name of the link in keymend\.yaml, a text of 1 to 64 /);
    for (const link of [undefined, null, 7, '', 'l'.repeat(65)]) {
      expect(() => create({ link: link as string })).toThrow(refusal);
    }
    expect(() => create({ link: 'l'.repeat(64) })).not.toThrow();
    expect(() => create({ origin: 7 as never })).toThrow(oneLine(/origin of the DualWriter must be a text/));
  });

  it('without a sink, or with a bound that bounds nothing', () => {
    expect(() => create({ records: undefined as never })).toThrow(/records of the DualWriter is empty/);
    expect(() => create({ records: [] })).toThrow(oneLine(/records of the DualWriter is empty.*at least one sink/));
    expect(() => create({ bounds: { inFlight: 0 } })).toThrow(oneLine(/inFlight of the DualWriter is 0: it must be/));
    expect(() => create({ failoverAfterMs: Number.NaN })).toThrow(oneLine(/failoverAfterMs of the DualWriter is NaN/));
    expect(() => create({ breaker: { failures: -1 } })).toThrow(oneLine(/failures of the DualWriter is -1/));
  });
});

describe('a time without end', () => {
  const forever = Number.POSITIVE_INFINITY;

  it.each<[string, Partial<DualWriterOptions>]>([
    ['minProbeMs', { breaker: { minProbeMs: forever } }],
    ['maxProbeMs', { breaker: { maxProbeMs: forever } }],
    ['transactional.graceMs', { transactional: { graceMs: forever } }],
  ])('is refused where no timer could wait for it: %s', (name, options) => {
    expect(() => create(options)).toThrow(`${name} of the DualWriter is Infinity: it must be at most 86400000, a day`);
  });

  it('is refused as the timeout of the target client', () => {
    const refusal = oneLine(/unsafe options of the target client: commandTimeout \(must be at most 86400000, a day\)/);
    expect(() => create({ target: client(2, mirrorOptions(forever)) })).toThrow(refusal);
  });

  it('is a bound that nothing reaches', () => {
    expect(() => create({ bounds: { records: forever }, breaker: { failures: forever } })).not.toThrow();
  });
});

it('close refuses a time that is no number', async () => {
  await expect((await bed.writer()).close({ timeoutMs: Number.NaN })).rejects.toThrow(
    oneLine(/timeoutMs of close is NaN/),
  );
});

it('a command that can’t be written, after the source was asked what it does, holds up none behind it', async () => {
  const writer = await bed.writer();
  const command = new Command('NOSUCH.SET', ['k', 'v']);
  command.toWritable = () => {
    throw new Error('no memory for it');
  };
  const [refused, reply] = await Promise.allSettled([writer.sendCommand(command), writer.set('k', 'v')]);
  expect(refused).toMatchObject({ reason: new Error('no memory for it') });
  expect(reply).toMatchObject({ value: 'OK' });
});

describe("a write of a key of keymend's own", () => {
  it('reaches the source alone, and is neither mirrored nor recorded', async () => {
    const writer = await bed.writer();
    const binary = Buffer.concat([Buffer.from('keymend:'), Buffer.from([0xff, 0])]);
    await writer.set('keymend:a', 'v');
    await writer.hset(binary, 'f', 'v');
    await writer.mset('keymend:b', '1', 'keymend:c', '2');
    await writer.rename('keymend:b', 'keymend:d');
    await writer.multi().set('keymend:e', '1').set('user:1', '1').exec();
    await writer.eval("return redis.call('SET', KEYS[1], 1)", 1, 'keymend:f');
    await settled(writer);
    expect(await bed.source.client.dbsize()).toBe(7);
    expect(await keysOf(bed.target.client)).toEqual(['user:1']);
    expect(bed.sink.records).toEqual([]);
  });

  it('together with others is refused, for half of it can’t be mirrored', async () => {
    const writer = await bed.writer();
    const refusal = oneLine(/is refused on a DualWriter: of its keys some begin with keymend:/);
    await expect(writer.mset('keymend:a', '1', 'user:1', '1')).rejects.toThrow(refusal);
    await expect(writer.rename('user:1', 'keymend:a')).rejects.toThrow(refusal);
    await expect(writer.unlink('user:1', Buffer.from('keymend:a'))).rejects.toThrow(refusal);
    expect(await bed.source.client.dbsize()).toBe(0);
  });

  it('with a prefix of the client is an application’s, unless the prefix makes it one of keymend', async () => {
    const writer = await bed.writer({ source: { keyPrefix: 'app:' } });
    await writer.set('keymend:a', 'v');
    const own = await bed.writer({ source: { keyPrefix: 'keymend:' } });
    await own.set('a', 'v');
    await settled(writer);
    await settled(own);
    expect(await keysOf(bed.target.client)).toEqual(['app:keymend:a']);
  });
});

describe('a write that the source does not carry out', () => {
  it('because it is a replica is neither mirrored nor recorded; the error is the server’s, the rest an event', async () => {
    const writer = await bed.writer();
    const told: unknown[] = [];
    writer.on('source', (problem) => told.push(problem));
    await bed.source.client.replicaof('127.0.0.1', 1);
    try {
      const plain = await bed.source.client.set('k', 'v').catch((error: Error) => error.message);
      expect(plain).toMatch(/^READONLY /);
      await expect(writer.set('k', 'v')).rejects.toThrow(new RegExp(`^${plain}$`));
      await expect(writer.multi().set('k', 'v').exec()).rejects.toThrow(/EXECABORT|READONLY/);
      expect(told).toEqual([
        { state: 'replica', reason: expect.stringMatching(oneLine(/give .* a client of the master/)) },
      ]);
      // A new connection may lead to another server, so that is told of again.
      const ready = new Promise((resolve) => writer.once('ready', resolve));
      writer.disconnect(true);
      await ready;
      await expect(writer.set('k', 'v')).rejects.toThrow('READONLY');
      expect(told).toHaveLength(2);
    } finally {
      await bed.source.client.replicaof('NO', 'ONE');
    }
    await settled(writer);
    expect(writer.stats()).toMatchObject({ mirrored: 0, recorded: 0 });
    expect(await bed.target.client.dbsize()).toBe(0);
  });

  it('because the value is over its limits is not mirrored', async () => {
    const writer = await bed.writer({ source: { maxRetriesPerRequest: 0 } });
    await writer.set('k', 'v');
    await expect(writer.append('k', 'x'.repeat(2 * 1024 * 1024))).rejects.toThrow();
    await settled(writer);
    expect(await bed.source.client.get('k')).toBe('v');
    expect(await bed.target.client.get('k')).toBe('v');
    expect(writer.stats().mirrored).toBe(1);
  });
});

describe('a command that reaches more than the keys it names', () => {
  it.each([['FLUSHALL'], ['FLUSHDB'], ['SWAPDB', '0', '1']])(
    '(%s) is refused with what to do instead',
    async (...command) => {
      const writer = await bed.writer();
      await writer.set('k', 'v');
      const [name, ...args] = command;
      await expect(writer.call(name!, ...args)).rejects.toThrow(
        oneLine(
          new RegExp(
            `${name} is refused on a DualWriter: .*run it on source and target yourself.*keymend reconcile KEY`,
          ),
        ),
      );
      await settled(writer);
      expect(await bed.target.client.get('k')).toBe('v');
      expect(bed.sink.records).toEqual([]);
    },
  );
});

describe('a number in a command that is larger than anything there', () => {
  const HUGE = ['200000000', '1e9', '0x7fffffff', 'Infinity'];
  // What Redis refuses, and reads that take it.
  const lines = [
    ...['EVAL s # a b', 'EVALSHA s # a b', 'FCALL f # a b', 'EVAL_RO s # a b'],
    ...['LMPOP # a LEFT', 'ZMPOP # a MIN', 'BLMPOP 0 # a LEFT', 'BZMPOP 0 # a MIN', 'MSETEX # a 1 b 2'],
    ...['ZUNIONSTORE to # a b', 'ZINTERSTORE to # a b', 'ZDIFFSTORE to # a b', 'ZUNION # a b', 'SINTERCARD # a b'],
    ...['HEXPIRE a 10 FIELDS # f', 'HGETDEL a FIELDS # f', 'HSETEX a FIELDS # f v', 'SORT a LIMIT 0 # STORE b'],
    ...['XREAD COUNT # STREAMS a 0', 'XREADGROUP GROUP g c COUNT # STREAMS a >', 'SET a v EX #', 'SETRANGE a # v'],
    ...['MIGRATE h # "" 0 # KEYS a b', 'SPOP a #', 'LPOP a #', 'GEORADIUS a 1 2 3 m COUNT # STORE b'],
  ];
  const errorOf = (work: Promise<unknown>) =>
    work.then(
      () => null,
      (error: Error) => error.message,
    );

  it.each([
    ['normal', {}],
    ['transactional', { transactional: {} }],
  ])('costs an application no more than the error of the server (%s)', async (_mode, more) => {
    const writer = await bed.writer({ more });
    for (const number of HUGE) {
      for (const line of lines) {
        const [name = '', ...args] = line.replaceAll('#', number).replaceAll('""', '').split(' ');
        const expected = await errorOf(bed.source.client.call(name, ...args));
        expect(await errorOf(writer.call(name, ...args)), line).toBe(expected);
      }
    }
    await settled(writer);
    await expectEqualAfterRepair(bed, bed.sink.records);
  });
});

describe('a command with more keys than a call can have arguments', () => {
  const keys = Array.from({ length: 200_000 }, (_, index) => `k${index}`);
  const evaluated: [string, string[]] = ['EVAL', ['return 1', `${keys.length}`, ...keys]];
  const refusal = oneLine(/EVAL is refused on a DualWriter: its keys are too many to be found; name fewer at once/);

  it('is refused, alone and in a pipeline, where the replies of the others stay theirs', async () => {
    const writer = await bed.writer();
    await expect(writer.call(...evaluated)).rejects.toThrow(refusal);
    const pipeline = writer.pipeline().set('a', '1').get('a');
    pipeline.call(...evaluated);
    const replies = await pipeline.incr('a').exec();
    expect(replies!.map(([error, reply]) => reply ?? error?.message)).toEqual([
      'OK',
      '1',
      expect.stringMatching(refusal),
      2,
    ]);
    await settled(writer);
    expect(await bed.target.client.get('a')).toBe('2');
    expect(bed.sink.records).toEqual([]);
  });
});

describe('a value over the limits of the target alone', () => {
  const large = 'x'.repeat(2 * 1024 * 1024);
  const limit = (bytes: number) => bed.target.client.config('SET', 'proto-max-bulk-len', bytes);
  beforeEach(async () => {
    await bed.source.client.config('SET', 'proto-max-bulk-len', 512 * 1024 * 1024);
    await limit(1024 * 1024);
  });
  afterEach(() => bed.source.client.config('SET', 'proto-max-bulk-len', 1024 * 1024));

  it('is recorded, as is the transaction that it is part of; the writes behind are mirrored', async () => {
    const writer = await bed.writer();
    await writer.set('large', large);
    await bed.sink.have(1);
    await mirroredAgain(writer);
    await writer.multi().set('small', 'v').set('larger', `${large}x`).exec();
    await settled(writer);
    expect(new Set(bed.sink.records.map(({ key }) => key))).toEqual(new Set(['large', 'probe', 'small', 'larger']));
    // The server closes the connection, with its last words or without.
    for (const { error } of bed.sink.records.filter(({ key }) => key !== 'probe')) {
      expect(error?.code).toMatch(/^(ERR|CONNECTION_LOST)$/);
    }
    await mirroredAgain(writer);
    expect(await bed.target.client.exists('large', 'small', 'larger')).toBe(0);
    await limit(512 * 1024 * 1024);
    await expectEqualAfterRepair(bed, bed.sink.records);
  });
});

/** The connection is up again. */
async function mirroredAgain(writer: DualWriter): Promise<void> {
  const { mirrored } = writer.stats();
  while (writer.stats().mirrored === mirrored) {
    await writer.set('probe', 'v');
    await settled(writer);
  }
}
