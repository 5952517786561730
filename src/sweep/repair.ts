/** Makes keys equal that a sweep has found to differ, by the engine and within the budget. */
import { setTimeout as sleep } from 'node:timers/promises';
import {
  type KeyResult,
  type LinkSides,
  type ReconcileOptions,
  reconcileEach,
  reconcileLargeKey,
} from '../engine/index.js';
import { outOf, type SureDifference, throwIfOfServer } from './suspects.js';
import type { Finding } from './tally.js';

/**
 * @returns one finding for each, in order
 * @throws ReconcileError where the target does not answer; the signal's reason when it aborts. What
 *   was written until then is valid, and found equal the next time
 */
export async function repairKeys(
  sides: LinkSides,
  found: readonly SureDifference[],
  options: ReconcileOptions & { readonly signal: AbortSignal },
): Promise<Finding[]> {
  const { signal } = options;
  const results = new Array<KeyResult>(found.length);
  for (let open = [...found.keys()]; open.length > 0; ) {
    signal.throwIfAborted();
    const tasks = open.map((index) => ({ key: found[index]!.key, signal }));
    await reconcileEach(sides, tasks, options, (position, result) => {
      if (result.outcome !== 'given-up') results[open[position]!] = result;
    });
    for (const index of open) {
      if (results[index]?.outcome !== 'large') continue;
      results[index] = await reconcileLargeKey(sides, { key: found[index]!.key }, { ...options, onProgress() {} });
    }
    signal.throwIfAborted();
    for (const index of open) throwIfOfServer(results[index]!);
    const waits = open.map((index) => results[index]!).filter((result) => result.outcome === 'deferred');
    const out = waits.find(({ outage }) => outage !== null)?.outage;
    if (out) throw outOf(out.shard);
    open = open.filter((index) => results[index]!.outcome === 'deferred');
    if (open.length > 0) await sleep(Math.min(...waits.map(({ retryAfterMs }) => retryAfterMs)), undefined, { signal });
  }
  return found.map(({ key, difference }, index): Finding => {
    const result = results[index]!;
    if (result.outcome !== 'failed') return { key, difference, repaired: true };
    return { key, difference, reason: `${result.error.type}: ${result.error.message}` };
  });
}
