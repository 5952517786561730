/** How many operations a reply stands for, in the unit of INFO commandstats. */
import { RedisFailure } from '../connection/failure.js';
import type { Cells, Integer } from './script.js';

/** What a script answers. */
export type ScriptReply = [serverTimeMs: Integer, operations: Integer, ...answers: (Cells | Buffer)[]];

/**
 * @param reply of a script, or of a plain command, which is one operation; as is one that was
 *   refused
 */
export function operationsOf(reply: unknown): number | null {
  if (reply instanceof RedisFailure) return reply.code === 'TIMEOUT' || reply.code === 'CONNECTION' ? null : 1;
  const [serverTime, operations] = Array.isArray(reply) ? (reply as ScriptReply) : [];
  return ['number', 'string'].includes(typeof serverTime) ? Number(operations) : 1;
}
