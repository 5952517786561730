/**
 * Bytes of servers and brokers, read: as `texts.test.ts`, of DUMPs, batches of Kafka, replies of
 * Redis and payloads of Temporal.
 */
import { createRequire } from 'node:module';
import { gzipSync } from 'node:zlib';
import * as fc from 'fast-check';
import { CompressionCodecs, CompressionTypes, type KafkaMessage } from 'kafkajs';
import snappy from 'snappyjs';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { crc32c } from '../../src/kafka/protocol/crc32c.js';
import { readWhatCanBeRead, unreadableOf } from '../../src/kafka/protocol/unreadable.js';
import { failureOfReply, RedisFailure } from '../../src/redis/connection/failure.js';
import { compareDumps, compareWith, typeOfDump } from '../../src/redis/dump.js';
import { observedState, reading } from '../../src/redis/rows.js';
import { packed, unpacked } from '../../src/redis/scripts/packed.js';
import { serverName } from '../../src/redis/topologies/server-name.js';
import { CodecError, payloadCodec } from '../../src/temporal/codec.js';
import { type RedisServer, startRedis } from '../support/redis.js';
import { fuzz, fuzzLater, refusal } from './fuzz.js';
import { CANARY, mutated } from './mutations.js';

const HOUR = 3_600_000;

/** Of one block that is not compressed: Node.js 20 has no zstd. */
function zstdFrame(bytes: Buffer): Buffer {
  const head = Buffer.from([0x28, 0xb5, 0x2f, 0xfd, 0xa0, 0, 0, 0, 0, 0, 0, 0]);
  head.writeUInt32LE(bytes.length, 5);
  head.writeUIntLE((bytes.length << 3) | 1, 9, 3);
  return Buffer.concat([head, bytes]);
}

/** Zeros in blocks of one repeated byte, each 128 KiB, and a window of as much. */
function zstdZeros(count: number): Buffer {
  const block = Buffer.alloc(4);
  block.writeUIntLE(((2 ** 17) << 3) | 2, 0, 3);
  const last = Buffer.from(block);
  last[0]! |= 1;
  const head = Buffer.from([0x28, 0xb5, 0x2f, 0xfd, 0, 0x38]);
  return Buffer.concat([head, ...Array.from({ length: count / 2 ** 17 - 1 }, () => block), last]);
}

describe('DUMPs', () => {
  let servers: RedisServer[] = [];
  const dumps: Buffer[] = [];
  beforeAll(async () => {
    const tables = [
      '--hash-max-listpack-entries',
      '0',
      '--set-max-intset-entries',
      '0',
      '--list-max-listpack-size',
      '2',
    ];
    servers = await Promise.all([startRedis(), startRedis([...tables, '--rdbcompression', 'no'])]);
    const long = 'abcdefgh'.repeat(60);
    for (const { client } of servers) {
      await client.set('string', CANARY);
      await client.set('long', long);
      await client.set('integer', '-12345');
      await client.rpush('list', 'a', '1', '70000', long, '-9000000000', CANARY);
      await client.sadd('integers', '1', '-2', '70000');
      await client.sadd('set', 'a', '13', CANARY, long);
      await client.hset('hash', { a: '1', b: CANARY, c: long });
      await client.zadd('sorted', 1, 'a', 2.5, 'b');
      for (const key of await client.keys('*')) dumps.push((await client.dumpBuffer(key))!);
    }
  });
  afterAll(() => Promise.all(servers.map((server) => server.stop())));

  test('compared', { timeout: HOUR }, () =>
    fuzz(dumps, (dump) => {
      const said = compareDumps(dump, dumps[dump.length % dumps.length]!);
      if (!['equal', 'different', 'unknown'].includes(said)) throw new Error(`it says ${said}`);
      compareWith(dump, 'string', [CANARY]);
      compareWith(dump, 'hash', ['a', '1']);
      typeOfDump(dump);
      return undefined;
    }),
  );

  test('in replies of scripts', { timeout: HOUR }, () => {
    const answer = (...cells: Buffer[]) => ({ cells, serverTimeMs: 1, server: {}, receivedAtMs: 1 });
    const states = dumps.map((dump) => Buffer.concat([Buffer.from('1700000000000 '), dump]));
    const digests = ['-1 hash value:0123', '-2 none ', '17 large '].map((text) => Buffer.from(text));
    fuzz([...states, ...digests], (state) => {
      observedState(answer(state));
      reading(answer(state, Buffer.of(), Buffer.from('-1'), Buffer.of()), [Buffer.from('k'), '', ''], dumps[0]!);
      return undefined;
    });
  });
});

describe('batches of Kafka', () => {
  const require = createRequire(import.meta.url);
  const AT = { length: 8, crc: 17, attributes: 21, lastDelta: 23, count: 57, records: 61 };
  const protocol = 'kafkajs/src/protocol';
  const Decoder = require(`${protocol}/decoder`);

  async function batch(compression: number): Promise<Buffer> {
    const { RecordBatch } = require(`${protocol}/recordBatch/v0`);
    const Record = require(`${protocol}/recordBatch/record/v0`);
    const headers = { 'dlq.reason': 'unknown-link', traceparent: CANARY };
    const records = [0, 1, 2].map((offsetDelta) =>
      Record({ offsetDelta, timestampDelta: 1, key: `key:${offsetDelta}`, value: CANARY.repeat(9), headers }),
    );
    const encoder = await RecordBatch({ compression, records, lastOffsetDelta: 2, firstTimestamp: 1, maxTimestamp: 2 });
    return Buffer.from(encoder.buffer);
  }

  /** Written by somebody who writes wrong records, with the right checksum. */
  function signed(bytes: Buffer): Buffer {
    if (bytes.length < 61) return bytes;
    const written = Buffer.from(bytes);
    written.writeInt32BE(written.length - 12, AT.length);
    written.writeUInt32BE(crc32c(written.subarray(AT.attributes)), AT.crc);
    return written;
  }

  let valid: Buffer[];
  beforeAll(async () => {
    readWhatCanBeRead();
    const writers: Record<number, (bytes: Buffer) => Uint8Array> = {
      [CompressionTypes.Snappy]: (bytes) => snappy.compress(bytes),
      [CompressionTypes.LZ4]: (bytes) => require('lz4js').compress(bytes),
      [CompressionTypes.ZSTD]: zstdFrame,
    };
    valid = [await batch(CompressionTypes.None), await batch(CompressionTypes.GZIP)];
    for (const [type, compress] of Object.entries(writers)) {
      const codecs = CompressionCodecs as unknown as Record<string, () => object>;
      const registered = codecs[type]!;
      codecs[type] = () => ({ compress: async ({ buffer }: { buffer: Buffer }) => Buffer.from(compress(buffer)) });
      valid.push(await batch(Number(type)));
      codecs[type] = registered;
    }
  });

  async function read(bytes: Buffer): Promise<KafkaMessage[]> {
    const decode = require(`${protocol}/recordBatch/v0/decoder`);
    const { records } = (await decode(new Decoder(bytes))) as { records: KafkaMessage[] };
    return records;
  }

  const MIB = 1024 * 1024;
  /** As Java writes them. */
  function snappyStream(blocks: number, block: Buffer): Buffer {
    const head = Buffer.from([0x82, 0x53, 0x4e, 0x41, 0x50, 0x50, 0x59, 0, 0, 0, 0, 1, 0, 0, 0, 1]);
    const length = Buffer.alloc(4);
    length.writeInt32BE(block.length);
    return Buffer.concat([head, ...Array.from({ length: blocks }, () => [length, block]).flat()]);
  }

  test.each([
    ['gzip', CompressionTypes.GZIP, gzipSync(Buffer.alloc(65 * MIB))],
    ['zstd', CompressionTypes.ZSTD, zstdZeros(65 * MIB)],
    ['LZ4', CompressionTypes.LZ4, Buffer.from(require('lz4js').compress(Buffer.alloc(65 * MIB)))],
    ['Snappy in one block', CompressionTypes.Snappy, snappy.compress(Buffer.alloc(65 * MIB))],
    ['Snappy in many blocks', CompressionTypes.Snappy, snappyStream(65, snappy.compress(Buffer.alloc(MIB)))],
  ])('that grow to more than 64 MiB by %s are unreadable', async (_name, type, bytes) => {
    const head = Buffer.from(valid[0]!.subarray(0, AT.records));
    head.writeInt16BE(type, AT.attributes);
    const [record, ...more] = await read(signed(Buffer.concat([head, bytes])));
    expect([unreadableOf(record!)?.reason, more]).toEqual(['decompressed it has more than 64 MiB', []]);
  });

  test('of more than half a million records are unreadable, however small these are', async () => {
    const bytes = Buffer.from(valid[0]!);
    bytes.writeInt32BE(500_001, AT.count);
    bytes.writeInt32BE(500_000, AT.lastDelta);
    const [record] = await read(signed(bytes));
    expect(unreadableOf(record!)?.reason).toBe('it has more than 500000 records');
  });

  test('read', { timeout: HOUR }, async () => {
    for (const each of valid) expect(await read(each)).toHaveLength(3);
    const input = fc.oneof(fc.constant(valid), fc.constant([valid[0]!])).chain(mutated);
    await fuzzLater(input, async (bytes) => {
      if (bytes.length < 61) return undefined;
      const records = await read(signed(bytes));
      return records.map(unreadableOf).find((each) => each !== undefined)?.reason;
    });
  });
});

test('replies in one piece', { timeout: HOUR }, () =>
  fuzz([packed(['a', CANARY, '', Buffer.from([0xff, 0])]), packed([])], (list) => {
    return refusal(RedisFailure, () => unpacked(list));
  }),
);

test('errors of Redis', { timeout: HOUR }, () => {
  const texts = [
    'ERR unknown command `X`, with args beginning with: `{}` `1`',
    "ERR unknown command 'FOO', with args beginning with: '{}' '1' ",
    "WRONGTYPE Operation against a key '{}' holding the wrong kind of value",
    "NOPERM User app has no permissions to access the '{}' key",
    '@user_script: 12: -OOM command not allowed when used memory > "maxmemory".',
  ];
  const values = ['a', '', `'`, '`', `it's`, '\n', `"x" 'y'`].map((value) => Buffer.from(value + CANARY));
  fuzz(values, (value) => {
    for (const text of texts) {
      const { message } = failureOfReply(text.replace('{}', () => value.toString('latin1').replace(/[\r\n]/g, ' ')));
      if (message.includes(CANARY)) return `${text}: ${message}`;
    }
    return failureOfReply(`ERR ${value.toString('latin1').replaceAll('~', '')}`);
  });
  fuzz([Buffer.from('# Server\r\nredis_version:8.0.0\r\nrun_id:0123456789abcdef\r\n')], (info) => {
    const name = serverName(info, 'master_replid:0123456789abcdef', 0);
    return typeof name === 'string' ? undefined : name;
  });
});

test('payloads of Temporal', { timeout: HOUR }, async () => {
  const codec = payloadCodec([{ id: 'k1', secret: Buffer.alloc(32, 7).toString('base64') }]);
  const payload = { metadata: { encoding: Buffer.from('json/plain') }, data: Buffer.from(`"${CANARY}"`) };
  const [encrypted] = await codec.encode([payload]);
  const input = mutated([Buffer.from(encrypted!.data!), Buffer.of()]);
  await fuzzLater(input, async (data) => {
    try {
      await codec.decode([{ ...encrypted, data }]);
      return undefined;
    } catch (error) {
      if (error instanceof CodecError) return error;
      throw error;
    }
  });
  await fuzzLater(mutated([Buffer.from('k1'), Buffer.from('binary/encrypted')]), async (text) => {
    try {
      await codec.decode([{ metadata: { ...encrypted!.metadata, 'encryption-key-id': text }, data: encrypted!.data! }]);
      return undefined;
    } catch (error) {
      // The name of a key is no value. What stands around it must not become one.
      if (error instanceof CodecError) return error.message.replaceAll(CANARY, '-');
      throw error;
    }
  });
});
