/** Keys of dead letters, tried by their state, whatever the letters say. */
import { Context } from '@temporalio/activity';
import { type KeyResult, type LargeKeyProgress, reconcileLargeKey, scopeOf } from '../src/engine/index.js';
import { keyBytes } from '../src/events/failed-write-codec.js';
import { type BatchWrite, unpacked } from '../workflows/batch-messages.js';
import { dueKeys, newRun, nextDue, type OpenKey, takeReply } from '../workflows/batch-run.js';
import type { LastError, LinkPolicy, ShardOutage } from '../workflows/messages.js';
import { addFailedWrites, NOTHING_PENDING } from '../workflows/pending.js';
import { landsWithin, VERIFY_ROUNDS } from '../workflows/settle.js';
import { attemptBatch, type createBatchActivities } from './batch.js';
import { effectOf, wroteList } from './effect.js';
import type { create } from './index.js';
import type { LinkRuntime } from './work.js';

/** Told of each attempt, as of those of a batch and of a key of its own. Must not throw. */
export interface TriesTold {
  readonly onBatch: Parameters<typeof createBatchActivities>[0]['onBatch'];
  readonly onResult: Parameters<typeof create>[0]['onResult'];
}

/** What has become of a key. */
export type KeyEnd =
  | { readonly kind: 'equal' | 'repaired' }
  /** Its server does not answer. It has not failed. */
  | { readonly kind: 'waiting'; readonly shard: string }
  | { readonly kind: 'failed'; readonly error: LastError; readonly attempts: number };

/** The cause is mended or it is not: more attempts would only say so later. */
const MOST_ATTEMPTS = 3;
/** Letters are no part of a log: nothing is looked up by it. */
const NO_PART = { topic: '', partition: 0, first: '', last: '', firstId: '' };

/**
 * Tries keys of one link until each has come to an end. A server that does not answer is not waited
 * for: it holds up no key of another one.
 * @returns in the order of the writes
 */
export async function tryKeys(
  link: string,
  runtime: LinkRuntime,
  linkPolicy: LinkPolicy,
  writes: readonly BatchWrite[],
  told: TriesTold,
): Promise<KeyEnd[]> {
  const maximumAttempts = Math.min(MOST_ATTEMPTS, linkPolicy.retry.maximumAttempts);
  const policy = { ...linkPolicy, retry: { ...linkPolicy.retry, maximumAttempts } };
  const run = newRun({ link, policy, part: NO_PART, writes });
  const keys = [...run.open];
  const out = new Map<OpenKey, ShardOutage>();
  while (run.open.size > 0) {
    const tried = dueKeys(run, Date.now());
    if (tried.length > 0) {
      // What failed once may be found to be large the next time: it is not failed then.
      for (const key of tried) key.error = null;
      const request = { link, policy, part: NO_PART, writes: tried.map(({ write }) => write) };
      const begunAt = performance.now();
      const reply = await attemptBatch(runtime, request);
      told.onBatch({ workflowId: workflowId(), request, reply, durationMs: performance.now() - begunAt });
      takeReply(run, tried, reply, Date.now());
      for (const { indices, outage } of reply.deferred) {
        if (outage === undefined) continue;
        for (const index of indices) {
          out.set(tried[index]!, outage);
          run.open.delete(tried[index]!);
        }
      }
    }
    if (run.open.size > 0) await Context.current().sleep(Math.max(1, nextDue(run) - Date.now()));
  }
  const ends: KeyEnd[] = [];
  for (const key of keys) {
    const { healed, error, tries, write, repairs } = key;
    const outage = out.get(key);
    if (outage !== undefined) ends.push({ kind: 'waiting', shard: outage.shard });
    else if (healed !== null) ends.push({ kind: healed });
    else if (error !== null) ends.push({ kind: 'failed', error, attempts: tries });
    else if (repairs > VERIFY_ROUNDS) ends.push({ kind: 'failed', error: contended(), attempts: repairs });
    else ends.push(await tryLargeKey(link, runtime, policy, write, told.onResult));
  }
  return ends;
}

/** A value that is gone through in chunks. What was written is looked at again. */
async function tryLargeKey(
  link: string,
  { sides, options }: LinkRuntime,
  policy: LinkPolicy,
  write: BatchWrite,
  onResult: TriesTold['onResult'],
): Promise<KeyEnd> {
  const { cancellationSignal: signal, sleep } = contextOf();
  const pending = addFailedWrites(NOTHING_PENDING, [unpacked({ link, part: NO_PART }, write)], policy, Date.now());
  const { key, encoding = 'utf8' } = write;
  const request = { key: keyBytes({ key, encoding }), scope: scopeOf(pending.hint) };
  let resume: LargeKeyProgress | undefined;
  const onProgress = (progress: LargeKeyProgress | undefined) => {
    resume = progress;
  };
  const failedAt = Date.parse(write.merged?.firstFailedAt ?? write.failedAt);
  const of = { link, workflowId: workflowId(), eventId: undefined, failedAt };
  for (let repairs = 0, failures = 0, attempt = 1; ; attempt++) {
    const begunAt = performance.now();
    const result: KeyResult = await reconcileLargeKey(sides, request, { ...options, signal, resume, onProgress });
    if (result.outcome !== 'large') onResult(result, performance.now() - begunAt, { ...of, attempt });
    if (result.outcome === 'equal') return { kind: repairs > 0 ? 'repaired' : 'equal' };
    // Whatever it has written is looked at again once what may be in flight has landed.
    const effect = effectOf(result);
    if (effect !== 'nothing') {
      repairs += 1;
      resume = undefined;
    }
    const landsMs = landsWithin(effect, policy.settleMs);
    if (repairs > VERIFY_ROUNDS) return { kind: 'failed', error: contended(), attempts: repairs };
    switch (result.outcome) {
      case 'failed': {
        const { type, message, stage } = result.error;
        failures += 1;
        if (failures >= policy.retry.maximumAttempts)
          return { kind: 'failed', error: { type, message, stage }, attempts: failures };
        await sleep(Math.max(policy.retry.initialIntervalMs, landsMs));
        break;
      }
      case 'deferred':
        if (result.outage !== null) return { kind: 'waiting', shard: result.outage.shard };
        await sleep(Math.max(result.retryAfterMs, landsMs));
        break;
      default:
        if (!pending.verify && !wroteList(result)) return { kind: 'repaired' };
        await sleep(landsMs);
    }
  }
}

/** Of the redrive. */
export function workflowId(): string {
  return Context.current().info.workflowExecution!.workflowId;
}

function contextOf() {
  const context = Context.current();
  return { cancellationSignal: context.cancellationSignal, sleep: (ms: number) => context.sleep(ms) };
}

function contended(): LastError {
  const message = 'still different after each repair: something keeps writing it on one side only';
  return { type: 'Contended', message, stage: 'verify' };
}
