/**
 * Starts a workflow for the keys of one link in a part of a log. It has the part's first position
 * in its ID, so that records which come again find it there and start nothing new.
 */
import { createHash } from 'node:crypto';
import { WorkflowExecutionAlreadyStartedError } from '@temporalio/client';
import type { Logger } from 'pino';
import {
  BATCH_TYPE,
  type BatchInput,
  type BatchMemo,
  type BatchWrite,
  packed,
} from '../../../workflows/batch-messages.js';
import type { EncodedKey } from '../../../workflows/messages.js';
import { mayBeInFlight } from '../../../workflows/settle.js';
import { type LinkConfig, linkPolicy } from '../../config.js';
import { keyBytes } from '../../events/failed-write-codec.js';
import { Outage } from '../../patience/outage.js';
import { untilTaken } from '../../patience/until-taken.js';
import { counted } from '../../plural.js';
import { CodecError } from '../../temporal/codec.js';
import type { LinkAttribute } from '../../temporal/link-attribute.js';
import type { KeyGroup, RecordedWrite } from '../group.js';
import { neverTaken } from '../key-signal.js';
import { mergeWrites } from '../merge.js';
import { foreignRunOf } from '../runs/own-runs.js';
import type { UnfinishedRuns } from '../runs/unfinished-runs.js';
import { signalFailure } from '../signal-failure.js';
import type { Signaller } from '../signaller.js';
import { asWholeKey, isOfWholeKey, wholeKeyAfter } from '../whole-key.js';
import { MAX_ID_CHARACTERS, workflowIdOf } from '../workflow-id.js';
import type { BatchClient, OpenBatches } from './open-batches.js';

interface BatchesOptions {
  readonly client: BatchClient;
  readonly taskQueue: string;
  readonly open: Pick<OpenBatches, 'withRoom' | 'opened'>;
  readonly unfinished: UnfinishedRuns;
  /** Tells one key of what its batch was not told. Rejects where Temporal does not take it. */
  readonly tell: Signaller['once'];
  readonly attribute: LinkAttribute;
  readonly logger: Logger;
}

/** What is to be started: keys of one link. */
interface BatchOrder {
  readonly link: LinkConfig;
  readonly groups: readonly KeyGroup[];
  /** Those of the groups, in the order of the log. */
  readonly writes: readonly RecordedWrite[];
  /** As of an `IntakeBatch`. */
  readonly isContiguous: boolean;
  /** The place in a trace of the step that starts it. */
  readonly traceparent?: string | undefined;
  /** Told which workflow has them, or those of a part of them. */
  readonly onTaken?: (workflowId: string) => void;
}

const START_TIMEOUT_MS = 10_000;

export interface Batches {
  /**
   * Resolves when workflows have all of these keys, or when aborted.
   * @returns what Temporal refuses to take in a batch: trying again changes nothing
   * @throws what is no answer of Temporal, hence a bug
   */
  start(order: BatchOrder, signal: AbortSignal): Promise<readonly KeyGroup[]>;
}

/** For a client that can't start workflows, a stand-in: each key goes by itself. */
export const NO_BATCHES: Batches = { start: async ({ groups }) => groups };

export function createBatches(options: BatchesOptions): Batches {
  const outage = new Outage(options.logger, 'Temporal does not take batches');

  /** @returns what is left to be started, or that Temporal never takes this */
  async function startOne(order: BatchOrder, suffix: string, signal: AbortSignal): Promise<StartEnd> {
    const sentAt = performance.now();
    const input = inputOf(order, options.unfinished);
    const digest = digestOf(order.writes);
    const workflowId = batchIdFor(input, suffix);
    let end: StartEnd = { kind: 'aborted' };
    const bugs: unknown[] = [];
    const attempt = async () => {
      try {
        const held = await startUnder(workflowId, input, digest, options);
        end = held === null ? { kind: 'taken' } : whatIsLeft(order, held, digest);
        if (end.kind === 'taken') order.onTaken?.(workflowId);
        // One that was there already may know less of the runs before.
        const parts = held === null ? input.writes.filter((write) => !isOfWholeKey(write)) : input.writes;
        if (end.kind !== 'other') noteParts(parts, { order, workflowId, sentAt }, options);
      } catch (error) {
        const failure = signalFailure(error);
        // The intake tells of it, by its name, and hands out the records again.
        if (failure.kind === 'unexpected') return void bugs.push(error);
        if (failure.kind !== 'refused') throw new Error(`${failure.code}: ${failure.message}`, { cause: error });
        options.logger.warn(
          `Temporal refuses ${workflowId} (${failure.message}); each of its keys is told of by itself`,
        );
        end = { kind: 'refused' };
      }
    };
    await untilTaken(attempt, { outage, explain: (error) => (error as Error).message, signal });
    if (bugs.length > 0) throw bugs[0];
    return end;
  }

  async function startAll(order: BatchOrder, signal: AbortSignal): Promise<readonly KeyGroup[]> {
    for (let rest = order, suffix = ''; ; ) {
      const end = await startOne(rest, suffix, signal);
      switch (end.kind) {
        case 'taken':
        case 'aborted':
          return [];
        case 'refused':
          return rest.groups;
        case 'other':
          // Under that name there can only be the same, or something that is not ours.
          if (suffix !== '') return rest.groups;
          suffix = `~${digestOf(rest.writes)}`;
          break;
        case 'left':
          rest = end.rest;
          suffix = '';
      }
    }
  }

  return {
    async start(order, signal) {
      if (order.groups.some((group) => neverTaken(group) !== null)) return order.groups;
      return options.open.withRoom(signal, () => startAll(order, signal));
    },
  };
}

function inputOf({ link, groups, writes, traceparent }: BatchOrder, unfinished: UnfinishedRuns): BatchInput {
  const { record, event } = writes[0]!;
  const { topic, partition, offset: first } = record.position;
  const { offset: last } = writes.at(-1)!.record.position;
  // All that may be in flight has landed `settle` after this.
  const now = new Date().toISOString();
  const packs = groups.map(({ key, writes }) => {
    const merged = mergeWrites(writes.map((write) => write.event));
    const isUnfinished = unfinished.includes(workflowIdOf(link, key));
    const packedWrite = packed(isUnfinished ? asWholeKey(merged) : merged);
    // By a clock that is ahead, it would have to settle for as long as that.
    return packedWrite.failedAt > now ? { ...packedWrite, failedAt: now } : packedWrite;
  });
  const traced = traceparent === undefined ? {} : { traceparent };
  const part = { topic, partition, first, last, firstId: event.id, receivedAt: now, ...traced };
  return { link: link.name, policy: linkPolicy(link), part, writes: packs };
}

/** Of a part of these keys the batch was told, so far as it is known. */
function noteParts(
  writes: readonly BatchWrite[],
  batch: { readonly order: BatchOrder; readonly workflowId: string; readonly sentAt: number },
  { unfinished, tell }: BatchesOptions,
): void {
  const { link } = batch.order;
  // Kept for a while, and of many keys, so without what was written.
  const keys = writes.map(({ key, encoding = 'utf8' }): EncodedKey => ({ key, encoding }));
  const ids = keys.map((key) => workflowIdOf(link, keyBytes(key)));
  const failedAt = new Date().toISOString();
  unfinished.told(ids, {
    runId: batch.workflowId,
    sentAt: batch.sentAt,
    isWhole: false,
    async again(after, workflowId) {
      const encoded = keys[ids.indexOf(workflowId)]!;
      const event = wholeKeyAfter(after, { specVersion: 1, id: '', link: link.name, ...encoded, failedAt });
      await tell({ kind: 'key', link, key: keyBytes(encoded), writes: [] }, [event]);
    },
  });
}

/**
 * @returns what another run under this ID holds, nothing if it is not ours; null: it was started
 */
async function startUnder(
  workflowId: string,
  input: BatchInput,
  digest: string,
  { client, taskQueue, open, attribute, logger }: BatchesOptions,
): Promise<Partial<BatchMemo> | null> {
  const { last, firstId } = input.part;
  const memo = { link: input.link, last, firstId, digest } satisfies BatchMemo;
  // The first attempt is then one at all keys, without a timer for those that may be in flight.
  const startDelay = input.writes.some(mayBeInFlight) ? input.policy.settleMs : 0;
  return client.withDeadline(Date.now() + START_TIMEOUT_MS, async () => {
    try {
      await attribute.starting(input.link, (attributes) =>
        client.start(BATCH_TYPE, {
          workflowId,
          taskQueue,
          args: [input],
          // One that has ended has done its work; not one that was terminated.
          workflowIdReusePolicy: 'ALLOW_DUPLICATE_FAILED_ONLY',
          memo: { ...memo },
          staticSummary: `${counted(input.writes.length, 'key')} of ${input.link}`,
          ...(startDelay > 0 && { startDelay }),
          ...attributes,
        }),
      );
      open.opened(workflowId, input.link);
      return null;
    } catch (error) {
      if (!(error instanceof WorkflowExecutionAlreadyStartedError)) throw error;
      // A start whose answer was lost is met here as well.
      const run = await describedOrUnreadable(client, workflowId);
      if (run instanceof Error) {
        logger.warn(`what the batch ${workflowId} holds can't be read (${run.message}); its keys go in another one`);
        return {};
      }
      if (foreignRunOf(run, taskQueue, BATCH_TYPE) !== null) return {};
      if (run.status.name === 'RUNNING') open.opened(workflowId, input.link);
      return run.memo ?? {};
    }
  });
}

/**
 * A memo may be encrypted with a key that was removed since. To wait for that would hold up the
 * records for ever; told of twice, they do no harm.
 */
async function describedOrUnreadable(client: BatchClient, workflowId: string) {
  try {
    return await client.getHandle(workflowId).describe();
  } catch (error) {
    if (error instanceof CodecError) return error;
    throw error;
  }
}

type StartEnd =
  | { readonly kind: 'taken' | 'refused' | 'aborted' }
  /** What is under the ID are other records. */
  | { readonly kind: 'other' }
  | { readonly kind: 'left'; readonly rest: BatchOrder };

/**
 * What a batch that is there already does not hold. It may hold less than what came again now, or
 * more: how much one fetch brings differs.
 */
function whatIsLeft(order: BatchOrder, held: Partial<BatchMemo>, digest: string): StartEnd {
  if (held.digest === digest) return { kind: 'taken' };
  if (held.firstId !== order.writes[0]!.event.id || !order.isContiguous) return { kind: 'other' };
  const last = order.writes.findIndex(({ record }) => record.position.offset === held.last);
  const writes = last < 0 ? [] : order.writes.slice(last + 1);
  if (writes.length === 0) return { kind: 'taken' };
  const left = new Set(writes);
  const groups = order.groups
    .map((group) => ({ ...group, writes: group.writes.filter((write) => left.has(write)) }))
    .filter((group) => group.writes.length > 0);
  return { kind: 'left', rest: { ...order, groups, writes } };
}

/** Not of positions alone: a log that was made anew has the same. */
function digestOf(writes: readonly RecordedWrite[]): string {
  const hash = createHash('sha256');
  for (const { record, event } of writes) hash.update(`${record.position.offset} ${event.id}\n`);
  return hash.digest('hex').slice(0, 16);
}

/** `keymend/batch/<link>/<topic>/<partition>/<first position>`. */
function batchIdFor({ link, part }: BatchInput, suffix: string): string {
  const id = `keymend/batch/${link}/${part.topic}/${part.partition}/${part.first}${suffix}`;
  if (id.length <= MAX_ID_CHARACTERS) return id;
  return `keymend/batch/sha256:${createHash('sha256').update(id).digest('hex')}`;
}
