/**
 * What of a key differs between two servers, for deciding what a narrow scope can promise. Shares
 * no code with the engine.
 */
import type { Redis } from 'ioredis';

/**
 * @returns `key`: it is absent on one side or of another type; `content`: it has no members that
 *   could be named, or they say nothing of it; else the members (fields) that differ
 */
export async function differingPart(a: Redis, b: Redis, key: Buffer): Promise<'key' | 'content' | Buffer[]> {
  const [type, other] = await Promise.all([a.type(key), b.type(key)]);
  if (type !== other) return 'key';
  if (type === 'none') return [];
  const [left, right] = await Promise.all([membersOf(a, type, key), membersOf(b, type, key)]);
  if (left === null || right === null) return 'content';
  const names = new Set([...left.keys(), ...right.keys()]);
  return [...names].filter((name) => left.get(name) !== right.get(name)).map((name) => Buffer.from(name, 'latin1'));
}

/** Members with their value or score, in latin1; null for a type without. */
async function membersOf(redis: Redis, type: string, key: Buffer): Promise<Map<string, string> | null> {
  const text = (reply: Buffer[]) => reply.map((each) => each.toString('latin1'));
  if (type === 'set') return new Map(text(await redis.smembersBuffer(key)).map((member) => [member, '']));
  if (type === 'hash') return pairs(text((await redis.callBuffer('HGETALL', key)) as Buffer[]));
  if (type === 'zset') return pairs(text((await redis.callBuffer('ZRANGE', key, '0', '-1', 'WITHSCORES')) as Buffer[]));
  return null;
}

function pairs(flat: string[]): Map<string, string> {
  return new Map(Array.from({ length: flat.length / 2 }, (_, index) => [flat[2 * index]!, flat[2 * index + 1]!]));
}
