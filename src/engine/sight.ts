/** What both sides have under a key, in short and without its value: for a person. */
import { NO_EXPIRY, NO_TYPE, RedisFailure, type RedisPort } from '../redis/index.js';
import type { LinkSides } from './contract.js';

interface Sight {
  /** As TYPE says it. */
  readonly type: string;
  /** Elements, of a string bytes; null: too many to be counted at once. */
  readonly size: number | null;
  /** ms since the epoch; null: never. */
  readonly expiresAt: number | null;
}

/**
 * One cheap look at each side, at the target within its budget.
 * @returns null for a side that does not answer, or has no room for that now. Never rejects
 */
export async function sightOf(
  { source, target }: LinkSides,
  key: Buffer,
): Promise<Readonly<Record<'source' | 'target', Sight | null>>> {
  const [ofSource, ofTarget] = await Promise.all([look(source, key), admitted(target, key)]);
  return { source: ofSource, target: ofTarget };
}

async function admitted(target: RedisPort, key: Buffer): Promise<Sight | null> {
  const admission = await target.admit([{ key, members: 0 }]);
  if (admission instanceof RedisFailure || admission.kind === 'deferred') return null;
  try {
    return await look(admission.port, key);
  } finally {
    admission.done();
  }
}

async function look(port: RedisPort, key: Buffer): Promise<Sight | null> {
  const [state] = await port.inspectMembers([{ key, members: [] }]);
  if (state === undefined || state instanceof RedisFailure) return null;
  const { type, count, expiry } = state;
  const isThere = type !== NO_TYPE;
  return {
    type,
    size: isThere && count >= 0 ? count : null,
    expiresAt: isThere && expiry !== NO_EXPIRY ? expiry : null,
  };
}
