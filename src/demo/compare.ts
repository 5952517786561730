/**
 * Compares two Redis completely, by plain reads and in JavaScript: no script, no DUMP, nothing
 * shared with the engine it is meant to judge. For servers at rest; a difference is looked at twice
 * before it counts, so that a key that expires in between is none.
 */
import type { Redis } from 'ioredis';

export interface Difference {
  readonly key: Buffer;
  /**
   * What differs, without a value: for example `missing on b`, `expiry`, `type: hash and string`.
   */
  readonly what: string;
}

export interface CompareOptions {
  /** A difference of expiry up to this many ms is none. Default 100. */
  readonly expiryToleranceMs?: number;
}

const BATCH = 500;

/**
 * What keymend keeps in the Redis it works on: outbox, budget, and keys under replacement. They
 * belong to one side alone, so they are no part of a comparison. Neither is a key of an application
 * whose name begins so.
 */
export const OWN_KEYS = 'keymend:';

export interface Comparison {
  /** Keys on either side, without keymend's own. */
  readonly keys: number;
  /** Every key that is not the same on both sides. */
  readonly differences: readonly Difference[];
}

/** Compares all keys but those that begin with `keymend:`, whoever made them. */
export async function compareDatabases(a: Redis, b: Redis, options: CompareOptions = {}): Promise<Comparison> {
  const keys = new Map<string, Buffer>();
  for (const side of [a, b]) {
    for await (const batch of side.scanBufferStream({ count: 1000 }) as AsyncIterable<Buffer[]>) {
      for (const key of batch) {
        const name = key.toString('latin1');
        if (!name.startsWith(OWN_KEYS)) keys.set(name, key);
      }
    }
  }
  const suspects = await compareKeys(a, b, [...keys.values()], options);
  const differences = await compareKeys(
    a,
    b,
    suspects.map(({ key }) => key),
    options,
  );
  return { keys: keys.size, differences };
}

async function compareKeys(a: Redis, b: Redis, keys: Buffer[], options: CompareOptions): Promise<Difference[]> {
  const differences: Difference[] = [];
  for (let start = 0; start < keys.length; start += BATCH) {
    const batch = keys.slice(start, start + BATCH);
    const [left, right] = await Promise.all([read(a, batch), read(b, batch)]);
    batch.forEach((key, index) => {
      const what = difference(left[index]!, right[index]!, options.expiryToleranceMs ?? 100);
      if (what !== null) differences.push({ key, what });
    });
  }
  return differences;
}

interface Key {
  readonly type: string;
  /** ms since the epoch, or null. */
  readonly expiry: number | null;
  /** The content in one canonical order, as JSON of latin1 strings. */
  readonly content: string;
}

function difference(a: Key, b: Key, toleranceMs: number): string | null {
  if (a.type !== b.type) {
    if (a.type === 'none') return 'missing on a';
    if (b.type === 'none') return 'missing on b';
    return `type: ${a.type} and ${b.type}`;
  }
  if (a.content !== b.content) return `content of ${a.type}`;
  if ((a.expiry === null) !== (b.expiry === null)) return 'expiry';
  return Math.abs((a.expiry ?? 0) - (b.expiry ?? 0)) > toleranceMs ? 'expiry' : null;
}

async function read(redis: Redis, keys: Buffer[]): Promise<Key[]> {
  const headers = await run(
    redis,
    keys.flatMap((key) => [['TYPE', key], ['TIME'], ['PTTL', key]]),
  );
  const types = keys.map((_, index) => String(headers[3 * index]));
  const contents = await Promise.all(contentsByType(redis, keys, types));
  return keys.map((_, index) => {
    const [seconds, micros] = headers[3 * index + 1] as Buffer[];
    const left = Number(headers[3 * index + 2]);
    const now = Number(seconds) * 1000 + Math.floor(Number(micros) / 1000);
    const content = contents[index]!;
    // It expired between the two reads: gone, as it will be on the second look.
    const type = content === null ? 'none' : types[index]!;
    return { type, expiry: left < 0 || content === null ? null : now + left, content: content ?? '' };
  });
}

const READ: Readonly<Record<string, (key: Buffer) => (string | Buffer)[]>> = {
  string: (key) => ['GET', key],
  list: (key) => ['LRANGE', key, '0', '-1'],
  set: (key) => ['SMEMBERS', key],
  hash: (key) => ['HGETALL', key],
  zset: (key) => ['ZRANGE', key, '0', '-1', 'WITHSCORES'],
  stream: (key) => ['XRANGE', key, '-', '+'],
};

/**
 * One promise per key; all plain reads of a batch still leave in one pipeline, the streams' groups
 * in a second one.
 */
function contentsByType(redis: Redis, keys: Buffer[], types: string[]): Promise<string | null>[] {
  const present = keys.flatMap((_, index) => (types[index] === 'none' ? [] : [index]));
  const commands = present.map((index) => {
    const read = READ[types[index]!];
    if (read === undefined) throw new Error(`the comparison does not know the type ${types[index]}`);
    return read(keys[index]!);
  });
  const replies = run(redis, commands);
  const position = new Map(present.map((index, at) => [index, at]));
  return keys.map(async (key, index) => {
    const at = position.get(index);
    if (at === undefined) return null;
    const reply = (await replies)[at];
    if (reply === null || (Array.isArray(reply) && reply.length === 0 && types[index] !== 'stream')) return null;
    if (types[index] === 'stream') return canonical([text(reply), await streamDetails(redis, key)]);
    return canonical(ordered(types[index]!, text(reply)));
  });
}

/** Last id, groups, consumers by name, and what is pending with the number of deliveries. */
async function streamDetails(redis: Redis, key: Buffer): Promise<unknown> {
  const [info, groups] = await run(redis, [
    ['XINFO', 'STREAM', key],
    ['XINFO', 'GROUPS', key],
  ]);
  const details = (groups as unknown[][]).map(async (reply) => {
    const group = mapOf(reply);
    const name = group.get('name') as Buffer;
    const [pending, consumers] = await run(redis, [
      ['XPENDING', key, name, '-', '+', '1000000'],
      ['XINFO', 'CONSUMERS', key, name],
    ]);
    return {
      name: text(name),
      last: text(group.get('last-delivered-id')),
      pending: (pending as unknown[][]).map(([id, consumer, , deliveries]) => [text(id), text(consumer), deliveries]),
      consumers: (consumers as unknown[][]).map((consumer) => text(mapOf(consumer).get('name'))).sort(),
    };
  });
  return { last: text(mapOf(info as unknown[]).get('last-generated-id')), groups: await Promise.all(details) };
}

function ordered(type: string, reply: unknown): unknown {
  const items = reply as string[];
  if (type === 'set') return [...items].sort();
  if (type === 'hash') return pairs(items).sort(([one], [other]) => (one! < other! ? -1 : 1));
  if (type === 'zset') return pairs(items).map(([member, score]) => [member, String(Number(numeric(score!)))]);
  return items;
}

function numeric(score: string): string {
  return score.replace(/inf$/, 'Infinity');
}

function pairs(items: string[]): string[][] {
  return Array.from({ length: items.length / 2 }, (_, index) => [items[2 * index]!, items[2 * index + 1]!]);
}

function mapOf(flat: unknown[]): Map<string, unknown> {
  return new Map(Array.from({ length: flat.length / 2 }, (_, index) => [String(flat[2 * index]), flat[2 * index + 1]]));
}

/** Buffers as latin1, one character per byte: lossless and comparable. */
function text(reply: unknown): unknown {
  if (Array.isArray(reply)) return reply.map(text);
  return Buffer.isBuffer(reply) ? reply.toString('latin1') : reply;
}

function canonical(value: unknown): string {
  return JSON.stringify(value);
}

/** Runs commands in one pipeline; replies as buffers, an error of any rejects. */
async function run(redis: Redis, commands: (string | Buffer)[][]): Promise<unknown[]> {
  const pipeline = redis.pipeline();
  for (const [name, ...args] of commands) pipeline.callBuffer(name as string, args);
  const replies = (await pipeline.exec()) ?? [];
  return replies.map(([error, reply]) => {
    if (error) throw error;
    return reply;
  });
}
