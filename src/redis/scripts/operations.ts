/** What commands cost a server: operations, as INFO commandstats counts them, and bytes. */
import { RedisFailure } from '../connection/failure.js';
import type { Cells, Integer } from './script.js';

/** What a script answers. */
export type ScriptReply = [serverTimeMs: Integer, operations: Integer, ...answers: (Cells | Buffer)[]];

/**
 * @param reply of a script, or of a plain command, which is one operation; as is one that was
 *   refused
 */
function operationsOf(reply: unknown): number | null {
  if (reply instanceof RedisFailure) return reply.code === 'TIMEOUT' || reply.code === 'CONNECTION' ? null : 1;
  const [serverTime, operations] = Array.isArray(reply) ? (reply as ScriptReply) : [];
  return ['number', 'string'].includes(typeof serverTime) ? Number(operations) : 1;
}

/** What a command and its reply have cost: as `CountCost` is told. */
export function costOf(command: readonly unknown[], reply: unknown): [operations: number | null, bytes: number] {
  return [operationsOf(reply), bytesOf(command) + bytesOf(reply)];
}

/** About how many bytes it takes on the wire, whatever stands around and between its parts. */
function bytesOf(value: unknown): number {
  if (Array.isArray(value)) {
    let bytes = 0;
    for (const part of value) bytes += bytesOf(part);
    return bytes;
  }
  return typeof value === 'string' || value instanceof Buffer ? value.length : BYTES_OF_A_NUMBER;
}

/** Or of null, or of an error. */
const BYTES_OF_A_NUMBER = 8;
