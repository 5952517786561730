/**
 * How a round over some keys is paid from a budget: an estimate is reserved first and settled with
 * what was counted.
 */

import { RedisFailure } from '../connection/failure.js';
import type { Cost } from '../key-watch.js';
import type { Admission, AdmissionRequest, Deferred, RedisPort } from '../port.js';
import type { CountCost } from '../scripts/script-runner.js';
import type { Budget } from './budget.js';

/**
 * What a round costs besides its keys: two scripts with their look at the clock, the role behind
 * the first one (once more where the server does not know the script yet), the delete guard's look
 * at role and size.
 */
const ROUND_OPERATIONS = 9;
/**
 * What a small key costs at most when it is inspected and repaired: twice MEMORY, DUMP and
 * PEXPIRETIME, then RESTORE and the mark of who wrote it.
 */
const KEY_OPERATIONS = 8;
/** A member is looked up twice, its expiry too where fields have one, and written. */
const MEMBER_OPERATIONS = 3;

const UNBOUNDED = Number.POSITIVE_INFINITY;
const NOTHING: Cost = { operations: 0, bytes: 0 };

/** How many members a request for one key has to name to reserve so many operations, at least. */
export function membersWorth(operations: number): number {
  return Math.max(0, Math.ceil((operations - ROUND_OPERATIONS - KEY_OPERATIONS) / MEMBER_OPERATIONS));
}

/**
 * Reserves for as many of the keys, the first ones, as fit into a slice of the budget; for one at
 * least.
 * @param requests as in `RedisPort.admit`
 * @param counted makes the port through which the round goes
 */
export async function admit(
  budget: Budget,
  requests: readonly AdmissionRequest[],
  counted: (count: CountCost) => RedisPort,
): Promise<Admission | Deferred | RedisFailure> {
  let reserved = ROUND_OPERATIONS;
  let keys = 0;
  for (const { members } of requests) {
    const needed = KEY_OPERATIONS + MEMBER_OPERATIONS * members;
    if (keys > 0 && reserved + needed > budget.slice) break;
    reserved += needed;
    keys += 1;
  }
  try {
    const answer = await budget.reserve(reserved);
    if (!answer.granted) return { kind: 'deferred', retryAfterMs: answer.retryAfterMs, outage: null };
    let [used, usedBytes] = [0, 0];
    const port = counted((operations, bytes) => {
      // Nobody knows what a lost call did: it counts as all that was reserved.
      used += operations ?? reserved;
      usedBytes += bytes;
    });
    const done = ({ operations, bytes }: Cost = NOTHING) => {
      // Whichever is the more: many bytes count as so many operations, and those behind wait.
      const ofBytes = Math.ceil((usedBytes + bytes) / (budget.bytesPerOperation ?? UNBOUNDED));
      const cost = Math.max(used + operations, ofBytes);
      answer.settle(cost);
      return cost;
    };
    return { kind: 'admitted', keys, port, done };
  } catch (failure) {
    // A replica takes no lease, and no repair either: the first look says so.
    if (failure instanceof RedisFailure && failure.code === 'READONLY') {
      return { kind: 'admitted', keys, port: counted(() => {}), done: () => 0 };
    }
    if (failure instanceof RedisFailure) return failure;
    throw failure;
  }
}
