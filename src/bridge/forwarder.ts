/**
 * The bridge's work apart from any log: each key of a batch becomes one signal, or in a surge one
 * of many keys of a workflow; what can't become either, a dead letter.
 */
import pMap from 'p-map';
import type { Logger } from 'pino';
import { BATCH_BYTES, BATCH_KEYS } from '../../workflows/batch-messages.js';
import type { FailedWrite } from '../../workflows/messages.js';
import type { LinkConfig } from '../config.js';
import type { DeadLetterCause } from '../events/dead-letter.js';
import type { DeadLetters } from '../events/dead-letters.js';
import type { BatchHandler, Intake, IntakeBatch, IntakeRecord, Reading } from '../events/intake.js';
import type { FailingKeys } from '../failing-keys/counter.js';
import type { BridgeMetrics } from '../telemetry/bridge-metrics.js';
import type { OpenSpan, Tracing } from '../telemetry/tracing.js';
import type { Batches } from './batches/batches.js';
import type { Surge } from './batches/surge.js';
import type { Gaps } from './gaps.js';
import { type KeyGroup, type Links, type Part, partsOf } from './group.js';
import { Letters } from './letters.js';
import { mergeWrites } from './merge.js';
import { describeForeignRun } from './runs/own-runs.js';
import type { SignalEnd, Signaller } from './signaller.js';
import { RecordSpans } from './spans.js';
import { Turns } from './turns.js';
import { workflowIdOf } from './workflow-id.js';

interface ForwarderOptions {
  /** Of which log the batches are, where the bridge reads several. */
  readonly of: string;
  readonly links: Links;
  readonly signaller: Signaller;
  readonly surge: Surge;
  readonly batches: Batches;
  readonly gaps: Gaps;
  /** Told of each key. */
  readonly failingKeys: Pick<FailingKeys, 'saw'>;
  readonly deadLetters: DeadLetters;
  readonly metrics: BridgeMetrics;
  /** Absent: no spans. */
  readonly tracing?: Tracing | undefined;
  readonly logger: Logger;
}

/** Records since the start. A record that was delivered twice counts twice. */
export interface Counters {
  readonly received: number;
  /** Told of to a workflow of their key, or of a batch. */
  readonly signalled: number;
  readonly deadLettered: number;
}

/** What forwarders of all logs share. */
export interface Forwarding extends Omit<ForwarderOptions, 'of' | 'deadLetters'> {
  /** The release, which whoever reads the log with it can see. */
  readonly version?: string | undefined;
}

/** An intake that hands its batches to a forwarder. */
export interface Forwarded extends Intake, Reading {
  readonly counters: Counters;
}

/** A batch in hand, with its dead letters. */
interface InHand extends Pick<IntakeBatch, 'signal' | 'isContiguous' | 'accepted'> {
  readonly letters: ReturnType<Letters['ofBatch']>;
}

/** Signals and dead letters under way at once, so that a batch is not a queue of round trips. */
const CONCURRENCY = 64;
const PART_LIMITS = { keys: BATCH_KEYS, bytes: BATCH_BYTES };

export class Forwarder {
  /** Live: read it again for newer numbers. */
  readonly counters = { received: 0, signalled: 0, deadLettered: 0 };
  readonly #options: ForwarderOptions;
  readonly #letters: Letters;
  readonly #turns = new Turns();
  readonly #spans: RecordSpans;

  constructor(options: ForwarderOptions) {
    this.#options = options;
    this.#letters = new Letters(options);
    this.#spans = new RecordSpans(options.tracing, options.deadLetters.kind);
  }

  readonly forward: BatchHandler = async ({ records, backlog, ...batch }) => {
    const { of, links, surge } = this.#options;
    this.counters.received += records.length;
    this.#options.metrics.received(records.length);
    const [first] = records;
    if (first === undefined) return;
    const place = `${of} ${first.position.topic}[${first.position.partition}]`;
    surge.taken(place, backlog);
    const inHand = { ...batch, letters: this.#letters.ofBatch() };
    const limits = [...links.keys()].some((link) => surge.mayBatch(link)) ? PART_LIMITS : undefined;
    // One behind the other: what a batch of keys holds is to be known by where it begins.
    try {
      for (const part of partsOf(records, links, limits)) {
        if (batch.signal.aborted) break;
        this.#options.failingKeys.saw(part.items.filter((item) => item.kind === 'key'));
        const together = this.#together(part);
        if (together.size === 0) await this.#eachAlone(part.items, inHand);
        else await this.#inBatches(part, together, inHand);
      }
    } finally {
      inHand.letters.tell();
      surge.done(place);
    }
    // Nothing more may come that would say so.
    if (backlog.records <= records.length && !batch.signal.aborted) surge.through(place, backlog);
  };

  /** The keys of each link that go in a batch. */
  #together({ items }: Part): Map<LinkConfig, KeyGroup[]> {
    const { surge } = this.#options;
    const byLink = new Map<LinkConfig, KeyGroup[]>();
    for (const item of items) {
      if (item.kind !== 'key' || !surge.mayBatch(item.link.name)) continue;
      const groups = byLink.get(item.link);
      if (groups === undefined) byLink.set(item.link, [item]);
      else groups.push(item);
    }
    for (const [link, { length }] of byLink) if (!surge.isFor(link.name, length)) byLink.delete(link);
    return byLink;
  }

  async #eachAlone(items: Part['items'], inHand: InHand): Promise<void> {
    const unexpected: unknown[] = [];
    await pMap(
      items,
      async (item) => {
        const span = this.#spans.of(item);
        try {
          if (item.kind === 'key') await this.#forwardKey(item, inHand, span);
          else {
            span.end({}, item.failure.reason);
            await this.#deadLetter(item.record, item.failure, inHand);
          }
        } catch (error) {
          // Kept for later: rejecting now would leave the other signals running behind the intake's
          // back.
          unexpected.push(error);
          span.end({}, 'unexpected');
        }
      },
      { concurrency: CONCURRENCY },
    );
    if (unexpected.length > 0) throw unexpected[0];
  }

  /**
   * All records of the part are accepted together, so that what comes again begins where a batch
   * begins.
   */
  async #inBatches(part: Part, together: Map<LinkConfig, KeyGroup[]>, inHand: InHand): Promise<void> {
    const accepted = new Set<IntakeRecord>();
    const alone = new Set(part.items);
    for (const [link, groups] of together) {
      const writeOf = new Map(groups.flatMap((group) => group.writes.map((write) => [write.record, write])));
      const writes = part.records.flatMap((record) => writeOf.get(record) ?? []);
      const span = this.#spans.ofBatch(
        link.name,
        writes.map(({ record }) => record),
      );
      const { traceparent } = span;
      const order = { link, groups, writes, isContiguous: inHand.isContiguous, traceparent };
      const refused = await this.#options.batches.start(order, inHand.signal).finally(() => span.end());
      if (inHand.signal.aborted) return;
      for (const group of groups) alone.delete(group);
      for (const group of refused) {
        alone.add(group);
        for (const { record } of group.writes) writeOf.delete(record);
      }
      for (const record of writeOf.keys()) accepted.add(record);
    }
    this.counters.signalled += accepted.size;
    this.#options.metrics.ended('batched', accepted.size);
    await this.#eachAlone([...alone], { ...inHand, accepted: (record) => void accepted.add(record) });
    if (accepted.size < part.records.length) return;
    for (const record of part.records) inHand.accepted(record);
  }

  async #forwardKey(group: KeyGroup, inHand: InHand, span: OpenSpan): Promise<void> {
    const { link, key, writes } = group;
    const { traceparent } = span;
    const end = await this.#turns.tell(workflowIdOf(link, key), writes, inHand.signal, (together) => {
      const event = { ...mergeWrites(together.map((write) => write.event)), ...(traceparent && { traceparent }) };
      return this.#options.signaller.signal(group, [event], inHand.signal);
    });
    span.end({ 'keymend.outcome': end.kind }, end.kind === 'refused' || end.kind === 'misled' ? end.kind : undefined);
    if (end.kind === 'aborted') return;
    for (const { record, event } of writes) {
      if (end.kind === 'taken') {
        this.counters.signalled++;
        this.#options.metrics.ended('signalled', 1);
        inHand.accepted(record);
      } else {
        await this.#deadLetter(record, notTaken(group, event, end), inHand);
      }
    }
  }

  async #deadLetter(record: IntakeRecord, failure: DeadLetterCause, inHand: InHand): Promise<void> {
    if (!(await inHand.letters.post(record, failure, inHand.signal))) return;
    this.counters.deadLettered++;
    this.#options.metrics.ended('dead_lettered', 1);
    this.#options.metrics.deadLettered(failure.reason);
    inHand.accepted(record);
  }
}

function notTaken(
  { link, key }: KeyGroup,
  event: FailedWrite,
  end: SignalEnd & { kind: 'refused' | 'misled' },
): DeadLetterCause {
  const workflowId = workflowIdOf(link, key);
  if (end.kind === 'refused') {
    const error = { type: 'TemporalRejected', code: end.code, message: end.message };
    return { reason: 'temporal-rejected', stage: 'signal', error, attempts: end.attempts, event, workflowId };
  }
  const error = { type: 'WorkflowIdTaken', message: describeForeignRun(end.run, link.name) };
  return { reason: 'workflow-id-taken', stage: 'signal', error, attempts: 1, event, workflowId };
}
