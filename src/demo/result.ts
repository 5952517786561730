/** What the demo has shown: the numbers, what each of them counts, and the verdict. */
import { counted } from '../plural.js';
import type { Comparison } from './compare.js';
import type { Converged } from './converging.js';
import type { OutageWritten } from './outage.js';
import type { ClosedRepair } from './repairs.js';
import type { SweepShown } from './sweeping.js';
import type { Written } from './writing.js';

export interface DemoResult {
  readonly operations: number;
  /** Failed-write records that Kafka or the outbox took. */
  readonly failedWrites: number;
  /**
   * How many of them waited in the outbox for the relay, because the application could not reach
   * Kafka.
   */
  readonly throughOutbox: number;
  /** Records that neither took. */
  readonly lostRecords: number;
  /** How often the application stopped sending to a target that did not answer. */
  readonly breakerOpened: number;
  /** How many keys were written once each in the last outage. */
  readonly outageKeys: number;
  /** Keys on either side when the writing ended. */
  readonly keysComparedBefore: number;
  /** How many of them differed. */
  readonly divergedBefore: number;
  /** How many of those the source had deleted. */
  readonly deletedOnSource: number;
  /**
   * Workflows that have ended: a key has another one when its writes fail again after its repair.
   */
  readonly workflows: number;
  /** Keys that one of them repaired. */
  readonly repaired: number;
  /**
   * How many of those differed when the writing ended; the others were repaired before, while the
   * link was back.
   */
  readonly repairedOfDiverged: number;
  /** Keys that travelled together while the target did not answer, in so many batches. */
  readonly batches: number;
  readonly repairedInBatches: number;
  /** From when the link was back until both were equal. */
  readonly healedMs: number;
  /** Keys that were given up on while the link was away, and then tried again. */
  readonly retried: number;
  /** Keys that are given up on at the end. */
  readonly escalated: number;
  readonly sweep: SweepShown;
  /** Keys on either side at the end. */
  readonly keysCompared: number;
  /** How many of them differ. */
  readonly divergedNow: number;
  /**
   * From the last failed write of a key until it was equal again, the outage included; null when no
   * key had to be repaired.
   */
  readonly convergenceMs: { readonly p50: number; readonly p99: number } | null;
  /** Where the timeline is, as a page. */
  readonly page: string;
}

interface Observed {
  readonly written: Written;
  readonly outage: OutageWritten;
  readonly converged: Converged;
  readonly sweep: SweepShown;
  /** At the very end. */
  readonly after: Comparison;
  readonly page: string;
}

export function resultOf({ written, outage, converged, sweep, after, page }: Observed): DemoResult {
  const { before, closed, batches, retried, escalated, healedMs } = converged;
  const repaired = new Set(closed.filter(({ outcome }) => outcome === 'repaired').map(({ workflowId }) => workflowId));
  // The demo's keys are printable, so each one is the ID of its workflows.
  const diverged = before.differences.map(({ key }) => key.toString());
  return {
    operations: written.operations + outage.keys,
    failedWrites: written.failedWrites + outage.failedWrites,
    throughOutbox: written.throughOutbox,
    lostRecords: written.lost + outage.lost,
    breakerOpened: written.breakerOpened,
    outageKeys: outage.keys,
    keysComparedBefore: before.keys,
    divergedBefore: diverged.length,
    deletedOnSource: before.differences.filter(({ what }) => what === 'missing on a').length,
    workflows: closed.length,
    repaired: repaired.size,
    repairedOfDiverged: diverged.filter((key) => repaired.has(key)).length,
    batches: batches.length,
    repairedInBatches: batches.reduce((sum, { repaired }) => sum + repaired, 0),
    healedMs,
    retried,
    escalated,
    sweep,
    keysCompared: after.keys,
    divergedNow: after.differences.length,
    convergenceMs: convergence(closed, written.lastFailedAt),
    page,
  };
}

/** @returns lines for a person, without the verdict */
export function describeResult(result: DemoResult): string[] {
  return [...factsOf(result), ['timeline', result.page] as const].map(([name, value]) => `${name.padEnd(15)} ${value}`);
}

/** @returns each number with what it counts */
export function factsOf(result: DemoResult): (readonly [string, string])[] {
  const { operations, failedWrites, throughOutbox, lostRecords, breakerOpened } = result;
  const { keysComparedBefore, divergedBefore, deletedOnSource, repaired, repairedOfDiverged } = result;
  const { workflows, retried, escalated, keysCompared, divergedNow } = result;
  const earlier = repaired - repairedOfDiverged;
  const { batches, repairedInBatches, outageKeys, healedMs } = result;
  const together = `; ${repairedInBatches} more in ${counted(batches, 'batch', 'batches')}, which waited for the target as one`;
  return [
    ['written', `${counted(operations, 'operation')}, of which ${failedWrites} failed on the target`],
    [
      'recorded',
      `${failedWrites - throughOutbox} by Kafka, ${throughOutbox} by the outbox while Kafka was away, ${lostRecords} lost`,
    ],
    ['breaker', `opened ${counted(breakerOpened, 'time')} by a target that did not answer`],
    [
      'diverged',
      `${divergedBefore} of the ${counted(keysComparedBefore, 'key')} on either side when the writing ended; ${deletedOnSource} of them the source had deleted`,
    ],
    [
      'repaired',
      `${counted(repaired, 'key')}: ${repairedOfDiverged} of those, and ${earlier} before, while the link was back for a while${batches > 0 ? together : ''}`,
    ],
    ['workflows', `${workflows} done: one for each key, and another when its writes failed again after its repair`],
    [
      'escalated',
      `${escalated} now${retried > 0 ? `; ${retried} while the link was away, tried again when it was back` : ''}`,
    ],
    ['time to repair', describeTimes(result)],
    [
      'outage',
      `${counted(outageKeys, 'key')} written while the link was cut; all were equal ${(healedMs / 1000).toFixed(1)} s after it was back`,
    ],
    ['sweep', describeSweep(result.sweep)],
    ['diverged now', `${divergedNow} of ${counted(keysCompared, 'key')}`],
  ];
}

function describeSweep({ compared, unnoticed, found, repaired }: SweepShown): string {
  return (
    `${counted(compared, 'key')} compared: found ${found} of the ${unnoticed} that were changed by hand, ` +
    `of which no failed write told, and repaired ${repaired}`
  );
}

/** The last line, if all is well. */
export function verdictOf({ keysCompared }: DemoResult): string {
  return `the two Redis are equal: ${counted(keysCompared, 'key')}, 0 differ`;
}

/**
 * @returns what is not as it should be at the end, in one line; undefined when the two Redis are
 *   equal by keymend's doing
 */
export function problemOf(result: DemoResult): string | undefined {
  const { divergedBefore, divergedNow, keysCompared, escalated, lostRecords, sweep } = result;
  if (divergedNow > 0) return `the two Redis are not equal: ${divergedNow} of ${counted(keysCompared, 'key')} differ`;
  if (escalated > 0) return `the two Redis are equal, but ${counted(escalated, 'key is', 'keys are')} still escalated`;
  if (lostRecords > 0)
    return `the two Redis are equal by luck: ${counted(lostRecords, 'failed write was', 'failed writes were')} recorded nowhere`;
  if (sweep.found < sweep.unnoticed)
    return `the two Redis are equal, but the sweep found ${sweep.found} of the ${counted(sweep.unnoticed, 'key')} that were changed by hand`;
  if (divergedBefore === 0) return 'the two Redis are equal, but they never differed: nothing was shown';
  return undefined;
}

function describeTimes({ convergenceMs }: DemoResult): string {
  if (convergenceMs === null) return 'nothing had to be repaired';
  const seconds = (ms: number) => `${(ms / 1000).toFixed(1)} s`;
  const { p50, p99 } = convergenceMs;
  return `p50 ${seconds(p50)}, p99 ${seconds(p99)} after a key's last failed write, the outage included`;
}

function convergence(
  closed: readonly ClosedRepair[],
  lastFailedAt: ReadonlyMap<string, number>,
): DemoResult['convergenceMs'] {
  const closedAt = new Map<string, number>();
  for (const { workflowId, closedAt: at } of closed)
    closedAt.set(workflowId, Math.max(at, closedAt.get(workflowId) ?? 0));
  const times = [...lastFailedAt].flatMap(([key, failed]) => {
    const at = closedAt.get(key);
    return at === undefined ? [] : [Math.max(0, at - failed)];
  });
  if (times.length === 0) return null;
  times.sort((a, b) => a - b);
  const percentile = (p: number) => times[Math.min(times.length - 1, Math.floor((p / 100) * times.length))]!;
  return { p50: percentile(50), p99: percentile(99) };
}
