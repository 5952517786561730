/**
 * Large keys keep to the target's budget step by step: they wait where they are, for beginning anew
 * would cost more.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { type Admission, type Cost, membersWorth, RedisFailure, type RedisPort } from '../../redis/index.js';
import type { LinkSides } from '../contract.js';
import { reconcileError } from '../errors.js';

/** What the last step of a kind has cost, in operations: the next one is likely to cost as much. */
export interface StepCost {
  operations: number;
}

/**
 * Does one step when the target's budget has room for it.
 * @param step gets the target through which it is counted
 * @param cost what is reserved; becomes what the step has cost. The first of a kind is paid for
 *   afterwards
 * @throws ReconcileError when the target can't be asked; the signal's reason when it aborts
 */
export async function paced<Result>(
  sides: LinkSides,
  key: Buffer,
  signal: AbortSignal | undefined,
  step: (target: RedisPort) => Promise<Result>,
  cost: StepCost = { operations: 0 },
): Promise<Result> {
  const admission = await admitted(sides, key, signal, membersWorth(cost.operations));
  try {
    return await step(admission.port);
  } finally {
    cost.operations = admission.done();
  }
}

/**
 * Pays for what goes past the port, when the budget has room for it. Throws as `paced` does.
 */
export async function pay(sides: LinkSides, key: Buffer, signal: AbortSignal | undefined, cost: Cost): Promise<void> {
  (await admitted(sides, key, signal, membersWorth(cost.operations))).done(cost);
}

const OUT = new RedisFailure('CONNECTION', 'it does not answer at all');

async function admitted(
  { target }: LinkSides,
  key: Buffer,
  signal: AbortSignal | undefined,
  members = 0,
): Promise<Admission> {
  for (;;) {
    signal?.throwIfAborted();
    const answer = await target.admit([{ key, members }]);
    if (answer instanceof RedisFailure) throw reconcileError(answer, 'target', 'read', target.place);
    if (answer.kind === 'admitted') return answer;
    // What was begun on connections that are gone does not go on when it answers again.
    if (answer.outage !== null) throw reconcileError(OUT, 'target', 'read', answer.outage.shard);
    await sleep(answer.retryAfterMs, undefined, { signal });
  }
}
