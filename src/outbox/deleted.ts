/** Tells of an outbox that was deleted while it was read: what waited in it is lost. */
import { setTimeout as sleep } from 'node:timers/promises';
import { ulid } from 'ulid';
import type { NoticedGap } from '../../workflows/gap-messages.js';

/** Resolves when the gap is kept, or when aborted. */
export type OnGap = (gap: NoticedGap, signal: AbortSignal) => Promise<void>;

/** The streams of one master go at once, and are not noticed at once. */
const TOGETHER_MS = 1_000;

/**
 * @param what was deleted, as the message is to name it
 * @returns to be called for each stream; resolves when the gap is kept, or when aborted
 */
export function tellingOfDeleted(what: string, onGap: OnGap, signal: AbortSignal): () => Promise<void> {
  let telling: Promise<void> | undefined;
  const tell = async () => {
    await sleep(TOGETHER_MS, undefined, { signal }).catch(() => {});
    if (signal.aborted) return;
    const message =
      `${what} was deleted, by hand, a flush, an eviction or a restart without data. What was not read of it is lost: ` +
      'compare both sides';
    // Nothing in the server tells one time from another. A sweep that began before this one does
    // not know of it, so it is never the same gap.
    await onGap({ id: `${what} deleted ${ulid()}`, cause: 'recreated', records: null, message }, signal);
  };
  return () => {
    telling ??= tell().finally(() => {
      telling = undefined;
    });
    return telling;
  };
}
