/** One batch of entries in the hands of a handler: kept while it works, finished as it accepts. */
import { setTimeout as sleep } from 'node:timers/promises';
import type { Logger } from 'pino';
import type { BatchHandler, IntakeRecord } from '../events/intake.js';
import { isTimed } from '../events/record-times.js';
import { messageOf } from '../patience/outage.js';
import type { OutageReport } from '../patience/shared-outage.js';
import { untilTaken } from '../patience/until-taken.js';
import type { ConsumerGroup, DeliveredEntry } from './consumer-group.js';
import { entryRecord } from './entry.js';

interface BatchHolder {
  readonly consumerGroup: ConsumerGroup;
  /** The key of the stream. */
  readonly stream: string;
  readonly handle: BatchHandler;
  /** Told of each record that the handler accepts. */
  readonly onAccepted: () => void;
  readonly outage: OutageReport;
  readonly logger: Logger;
  /** Aborted when the intake stops. */
  readonly signal: AbortSignal;
}

/** How often a consumer says that it still works on what it has. */
const KEEP_INTERVAL_MS = 3_000;
/** How often a long batch forgets what is accepted. */
const FINISH_INTERVAL_MS = 250;

/**
 * Resolves when the handler has ended and what it accepted is forgotten, or the intake stops. What
 * it did not accept comes again.
 */
export async function handOut(entries: readonly DeliveredEntry[], holder: BatchHolder): Promise<void> {
  const { consumerGroup, stream, handle, onAccepted, outage, logger, signal } = holder;
  const records = entries.map((entry) => entryRecord(stream, entry));
  // What is assigned and not in hand are intents, as good as all: these wait for their writes.
  const backlog = { records: records.length + (await consumerGroup.unread()), ageMs: ageOf(records) };
  // What arrives when the intake stops already goes to another, by `leave`.
  if (signal.aborted) return;
  const working = new Set(records);
  const accepted: IntakeRecord[] = [];
  const accept = (record: IntakeRecord) => {
    accepted.push(record);
    onAccepted();
  };

  async function finishAccepted(): Promise<void> {
    const finishing = [...accepted];
    if (finishing.length === 0) return;
    await consumerGroup.finish(finishing.map(({ position }) => position.offset));
    accepted.splice(0, finishing.length);
    for (const record of finishing) working.delete(record);
  }

  const handled = new AbortController();
  const tending = tend(consumerGroup, working, finishAccepted, handled.signal);
  try {
    await handle({ records, backlog, isContiguous: false, signal, accepted: accept });
  } catch (error) {
    // What was not accepted stays assigned to this consumer and is claimed, here or elsewhere, when
    // it has been idle for long.
    const { name, message, stack } = error instanceof Error ? error : new Error(String(error));
    logger.error(
      { stack },
      `unexpected ${name} in a batch of ${consumerGroup.place}, which is tried again: ${message}`,
    );
  } finally {
    handled.abort();
  }
  await tending;
  if (accepted.length === 0) return;
  // Once even when stopping; not finished, they come again, known by their ids.
  if (signal.aborted) await finishAccepted().catch(() => {});
  else await untilTaken(finishAccepted, { outage, explain: messageOf, signal });
}

function ageOf(records: readonly IntakeRecord[]): number {
  const now = Date.now();
  const timed = records.filter(({ position }) => isTimed(position, now));
  return now - Math.min(now, ...timed.map(({ position }) => Number(position.timestamp)));
}

/**
 * Runs beside the handler. A server that is away is met again by `untilTaken` above, which says so.
 */
async function tend(
  consumerGroup: ConsumerGroup,
  working: ReadonlySet<IntakeRecord>,
  finishAccepted: () => Promise<void>,
  handled: AbortSignal,
): Promise<void> {
  let keepAt = Date.now() + KEEP_INTERVAL_MS;
  for (;;) {
    await sleep(FINISH_INTERVAL_MS, undefined, { signal: handled }).catch(() => {});
    if (handled.aborted) return;
    await finishAccepted().catch(() => {});
    if (Date.now() < keepAt || working.size === 0) continue;
    await consumerGroup.keep([...working].map(({ position }) => position.offset)).catch(() => {});
    keepAt = Date.now() + KEEP_INTERVAL_MS;
  }
}
