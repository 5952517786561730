/**
 * Compares two Redis completely, by plain commands of each type: every key of both sides, values, scores, order, expiry,
 * consumer groups. It shares nothing with the engine, so that a fault there can't hide here.
 */
import { randomUUID } from 'node:crypto';
import { type Redis, ReplyError } from 'ioredis';

export interface Difference {
  readonly key: Buffer;
  /** What differs, without any value. */
  readonly what: string;
}

export interface Comparison {
  /** Keys on either side. */
  readonly keys: number;
  readonly differences: readonly Difference[];
}

/** What one side has under a key, as text that is equal when the content is. */
interface Content {
  readonly type: string;
  readonly value: string;
  /** ms since the epoch, -1: none. */
  readonly expiresAt: number;
}

const BATCH = 500;

/** @param toleranceMs how far two expiries may be apart */
export async function compareRedis(source: Redis, target: Redis, toleranceMs = 100): Promise<Comparison> {
  const keys = new Map<string, Buffer>();
  for (const side of [source, target]) {
    for await (const batch of side.scanBufferStream({ count: 1000 })) {
      for (const key of batch as Buffer[]) keys.set(key.toString('latin1'), key);
    }
  }
  const all = [...keys.values()];
  const differences: Difference[] = [];
  for (let i = 0; i < all.length; i += BATCH) {
    const batch = all.slice(i, i + BATCH);
    const [there, here] = await Promise.all([read(source, batch), read(target, batch)]);
    batch.forEach((key, index) => {
      const what = differ(there[index]!, here[index]!, toleranceMs);
      if (what !== null) differences.push({ key, what });
    });
  }
  return { keys: all.length, differences };
}

function differ(source: Content, target: Content, toleranceMs: number): string | null {
  if (source.type !== target.type) return `type: ${source.type} on the source, ${target.type} on the target`;
  if (source.value !== target.value) return `content of the ${source.type}`;
  const one = Math.min(source.expiresAt, target.expiresAt) === -1;
  if (source.expiresAt === target.expiresAt) return null;
  if (one || Math.abs(source.expiresAt - target.expiresAt) > toleranceMs) return 'expiry';
  return null;
}

async function read(side: Redis, keys: readonly Buffer[]): Promise<Content[]> {
  const types = await pipelined(
    side,
    keys.map((key) => ['TYPE', key]),
  );
  const expiries = await pipelined(
    side,
    keys.map((key) => ['PEXPIRETIME', key]),
  );
  const values = await pipelined(
    side,
    keys.map((key, i) => readCommand(String(types[i]), key)),
  );
  return Promise.all(
    keys.map(async (key, i) => {
      const type = String(types[i]);
      // A stream's read is one of its parts; the groups come in calls of their own.
      const value = type === 'stream' ? [values[i], await groups(side, key)] : values[i];
      return { type, value: canonical(type, value), expiresAt: Number(expiries[i]) };
    }),
  );
}

function readCommand(type: string, key: Buffer): (string | Buffer)[] {
  switch (type) {
    case 'string':
      return ['GET', key];
    case 'list':
      return ['LRANGE', key, '0', '-1'];
    case 'set':
      return ['SMEMBERS', key];
    case 'hash':
      return ['HGETALL', key];
    case 'zset':
      return ['ZRANGE', key, '0', '-1', 'WITHSCORES'];
    case 'stream':
      return ['XRANGE', key, '-', '+'];
    default:
      return ['EXISTS', key];
  }
}

async function groups(side: Redis, key: Buffer): Promise<unknown> {
  const found = (await side.callBuffer('XINFO', 'GROUPS', key).catch(changing)) as unknown as Buffer[][] | string;
  if (typeof found === 'string') return found;
  return Promise.all(
    found.map(async (fields) => {
      const field = (name: string) => fields[fields.findIndex((item) => String(item) === name) + 1]!;
      const pending = (await side.callBuffer(
        'XPENDING',
        key,
        field('name'),
        '-',
        '+',
        '1000000',
      )) as unknown as unknown[][];
      // Without the idle time, which differs by nature.
      return [
        field('name'),
        field('last-delivered-id'),
        pending.map(([id, consumer, , count]) => [id, consumer, count]),
      ];
    }),
  );
}

async function pipelined(side: Redis, commands: (string | Buffer)[][]): Promise<unknown[]> {
  const pipeline = side.pipeline();
  for (const [name, ...args] of commands) pipeline.callBuffer(String(name), ...args);
  const replies = (await pipeline.exec())!;
  return replies.map(([error, reply]) => (error ? changing(error) : reply));
}

/** A key that changed its type or went away while it was read is equal to nothing. Any other error is an error. */
function changing(error: unknown): string {
  const { message } = error as Error;
  if (!(error instanceof ReplyError) || !/^WRONGTYPE|^NOGROUP|no such key/.test(message)) throw error;
  return `changing ${randomUUID()}`;
}

/** Sets and hashes have no order of their own. Scores are compared as numbers, because servers print them differently. */
function canonical(type: string, value: unknown): string {
  if (typeof value === 'string') return value;
  if (type === 'set') return text((value as Buffer[]).map(text).sort());
  if (type === 'hash')
    return text(
      pairs(value as Buffer[])
        .map(text)
        .sort(),
    );
  if (type === 'zset') return text(pairs(value as Buffer[]).map(([member, score]) => [member, String(Number(score))]));
  return text(value);
}

function pairs(flat: readonly Buffer[]): [Buffer, Buffer][] {
  return Array.from({ length: flat.length / 2 }, (_, i) => [flat[2 * i]!, flat[2 * i + 1]!]);
}

function text(value: unknown): string {
  return JSON.stringify(value, (_key, item) => {
    // JSON.stringify has called toJSON of a Buffer before it comes here.
    if (item?.type === 'Buffer' && Array.isArray(item.data)) return Buffer.from(item.data).toString('latin1');
    return item;
  });
}
