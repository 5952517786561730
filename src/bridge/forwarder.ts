/**
 * The bridge's work apart from any log: each key of a batch becomes one signal; what can't become
 * one, a dead letter.
 */
import pMap from 'p-map';
import type { Logger } from 'pino';
import type { NoticedGap } from '../../workflows/gap-messages.js';
import type { FailedWrite } from '../../workflows/messages.js';
import { type DeadLetterCause, type DeadLetterReason, deadLetterOf } from '../events/dead-letter.js';
import { type DeadLetters, describeRefusal, publishWhatFits } from '../events/dead-letters.js';
import type { BatchHandler, Intake, IntakeBatch, IntakeRecord } from '../events/intake.js';
import { kafkaErrorMessage } from '../kafka/client.js';
import { Outage } from '../patience/outage.js';
import { untilTaken } from '../patience/until-taken.js';
import type { Gaps } from './gaps.js';
import { groupByKey, type KeyGroup, type Links } from './group.js';
import { mergeWrites } from './merge.js';
import { describeForeignRun } from './own-runs.js';
import type { SignalEnd, Signaller } from './signaller.js';
import { workflowIdFor } from './workflow-id.js';

interface ForwarderOptions {
  readonly links: Links;
  readonly signaller: Signaller;
  readonly gaps: Gaps;
  readonly deadLetters: DeadLetters;
  readonly logger: Logger;
}

/** Records since the start. A record that was delivered twice counts twice. */
export interface Counters {
  readonly received: number;
  readonly signalled: number;
  readonly deadLettered: number;
}

/** What a forwarder needs besides a place for dead letters. */
export type Forwarding = Omit<ForwarderOptions, 'deadLetters'>;

/** An intake that hands its batches to a forwarder. */
export interface Forwarded extends Intake {
  readonly counters: Counters;
}

interface Forwarder {
  readonly forward: BatchHandler;
  /** Live: read it again for newer numbers. */
  readonly counters: Counters;
}

/**
 * The dead letters of a batch by reason: thousands of them must not become thousands of log lines.
 */
type Letters = Map<DeadLetterReason, { count: number; first: Letter }>;
interface Letter {
  readonly record: IntakeRecord;
  readonly failure: DeadLetterCause;
}

/** Signals and dead letters under way at once, so that a batch is not a queue of round trips. */
const CONCURRENCY = 64;

export function createForwarder({ links, signaller, gaps, deadLetters, logger }: ForwarderOptions): Forwarder {
  const counters = { received: 0, signalled: 0, deadLettered: 0 };
  const outage = new Outage(logger, `the dead-letter ${deadLetters.kind} does not take records`);

  async function forward(batch: IntakeBatch): Promise<void> {
    counters.received += batch.records.length;
    const letters: Letters = new Map();
    const unexpected: unknown[] = [];
    await pMap(
      groupByKey(batch.records, links),
      async (item) => {
        try {
          if (item.kind === 'key') await forwardKey(item, batch, letters);
          else await deadLetter(item.record, item.failure, batch, letters);
        } catch (error) {
          // Kept for later: rejecting now would leave the other signals running behind the intake's
          // back.
          unexpected.push(error);
        }
      },
      { concurrency: CONCURRENCY },
    );
    for (const [reason, { count, first }] of letters)
      logger.warn({ reason, count }, describeLetters(deadLetters.kind, count, first));
    if (unexpected.length > 0) throw unexpected[0];
  }

  async function forwardKey(group: KeyGroup, batch: IntakeBatch, letters: Letters): Promise<void> {
    const { writes } = group;
    const event = mergeWrites(writes.map((write) => write.event));
    const end = await signaller.signal(group, [event], batch.signal);
    if (end.kind === 'aborted') return;
    for (const { record, event } of writes) {
      if (end.kind === 'taken') {
        counters.signalled++;
        batch.accepted(record);
      } else {
        await deadLetter(record, notTaken(group, event, end), batch, letters);
      }
    }
  }

  async function deadLetter(
    record: IntakeRecord,
    failure: DeadLetterCause,
    batch: IntakeBatch,
    letters: Letters,
  ): Promise<void> {
    const letter = deadLetterOf(record, failure);
    const publish = async () => {
      const refusal = await publishWhatFits(deadLetters, letter);
      if (refusal !== null) logger.error(describeRefusal(deadLetters, record.position, refusal));
    };
    if (!(await untilTaken(publish, { outage, explain: kafkaErrorMessage, signal: batch.signal }))) return;
    if (record.unreadable) {
      await gaps.open(gapOf(record, failure.error.message), batch.signal);
      if (batch.signal.aborted) return;
    }
    counters.deadLettered++;
    const { count = 0, first = { record, failure } } = letters.get(failure.reason) ?? {};
    letters.set(failure.reason, { count: count + 1, first });
    batch.accepted(record);
  }

  return { forward, counters };
}

function gapOf({ position, unreadable }: IntakeRecord, message: string): NoticedGap {
  const { topic, partition, offset } = position;
  const records = Number(BigInt(unreadable!.lastOffset) - BigInt(offset)) + 1;
  return { id: `${topic}[${partition}] unreadable at ${offset}`, cause: 'unreadable', records, message };
}

function notTaken(
  { link, key }: KeyGroup,
  event: FailedWrite,
  end: SignalEnd & { kind: 'refused' | 'misled' },
): DeadLetterCause {
  const workflowId = workflowIdFor(link.workflowIdPrefix, key);
  if (end.kind === 'refused') {
    const error = { type: 'TemporalRejected', code: end.code, message: end.message };
    return { reason: 'temporal-rejected', stage: 'signal', error, attempts: end.attempts, event, workflowId };
  }
  const message = describeForeignRun(end.run, link.name);
  const error = { type: 'WorkflowIdTaken', message };
  return { reason: 'workflow-id-taken', stage: 'signal', error, attempts: 1, event, workflowId };
}

function describeLetters(kind: string, count: number, { record: { position }, failure }: Letter): string {
  const place = `${position.topic}[${position.partition}] offset ${position.offset}`;
  const which = count === 1 ? `the record at ${place}` : `${count} records, the first at ${place},`;
  return `${which} went to the dead-letter ${kind} (${failure.reason}): ${failure.error.message}`;
}
