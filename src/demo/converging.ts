/** The link is back: waits for keymend, and does what an operator would. */
import { setTimeout as sleep } from 'node:timers/promises';
import { counted } from '../plural.js';
import type { Comparison } from './compare.js';
import { showProgress } from './progress.js';
import {
  type ClosedBatch,
  type ClosedRepair,
  closedBatches,
  closedRepairs,
  countRepairs,
  type Repairs,
  type RunOfDemo,
  retryEscalated,
} from './repairs.js';
import type { Stage } from './stage.js';

const CONVERGENCE_TIMEOUT_MS = 5 * 60_000;
/** All attempts of the policy take half of it. */
const RETRIES_TIMEOUT_MS = 60_000;

/** What has become of the failed writes of the first two acts. */
export interface Converged {
  /** When the writing had ended, and the link was still cut. */
  readonly before: Comparison;
  readonly closed: readonly ClosedRepair[];
  readonly batches: readonly ClosedBatch[];
  /** Keys that were given up on while the link was away, and then tried again. */
  readonly retried: number;
  /** Keys that still are. */
  readonly escalated: number;
  /** From when the link was back until both were equal. */
  readonly healedMs: number;
}

/** @param since when the first of the repairs may have begun */
export async function convergence(stage: Stage, since: Date): Promise<Converged> {
  const { client, taskQueue, link, timeline, report } = stage;
  const run = { client, taskQueue, since };
  const before = await stage.compare();
  timeline.compared(before);
  report(`${before.differences.length} of ${counted(before.keys, 'key')} differ; the link is back`);
  link.restore();
  timeline.link('restored');
  const restoredAt = performance.now();
  const { repairs, retried } = await untilConverged(stage, run);
  const healedMs = Math.round(performance.now() - restoredAt);
  const closed = await closedRepairs(run);
  const batches = await closedBatches(run);
  return { before, closed, batches, retried, escalated: repairs.escalated, healedMs };
}

/**
 * Waits until both Redis are equal and no repair is under way. Keys that were given up on while the
 * link was away are tried again once, as an operator does. Those that stay escalated, and whatever
 * differs after five minutes, are left to the result.
 */
async function untilConverged(
  { report, signal, compare }: Stage,
  run: RunOfDemo,
): Promise<{ repairs: Repairs; retried: number }> {
  const started = performance.now();
  const isPast = (ms: number) => performance.now() - started > ms;
  let repairs: Repairs = { running: 0, closed: 0, escalated: 0 };
  let retried = 0;
  let retriedUntilMs: number | undefined;
  let differing = '';
  const progress = showProgress(
    () =>
      `repairing  ${counted(repairs.closed, 'workflow')} done, ${repairs.running} under way, ${repairs.escalated} escalated${differing}`,
    report,
  );
  try {
    for (;;) {
      await sleep(500, undefined, { signal });
      repairs = await countRepairs(run);
      const { running, escalated } = repairs;
      if (escalated > 0 && escalated === running && retriedUntilMs === undefined) {
        retried = await retryEscalated(run);
        retriedUntilMs = performance.now() - started + RETRIES_TIMEOUT_MS;
        continue;
      }
      const late = isPast(CONVERGENCE_TIMEOUT_MS) || (escalated > 0 && isPast(retriedUntilMs ?? Infinity));
      if (running > 0 && !late) continue;
      // What Temporal lists lags behind, and the bridge behind Kafka: only the comparison knows.
      const after = await compare();
      differing = `, ${counted(after.differences.length, 'key differs', 'keys differ')}`;
      if (after.differences.length === 0 || late) return { repairs, retried };
    }
  } finally {
    progress.stop();
  }
}
