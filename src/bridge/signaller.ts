/**
 * Tells Temporal of the failed writes of a key, and does not give up while Temporal is merely away.
 */
import type { Logger } from 'pino';
import { type FailedWrite, WORKFLOW_TYPE } from '../../workflows/messages.js';
import { backOff } from '../patience/back-off.js';
import { Outage } from '../patience/outage.js';
import type { LinkAttribute } from '../temporal/link-attribute.js';
import type { KeyGroup } from './group.js';
import { neverTaken, signalWithStartOptions } from './key-signal.js';
import { type ForeignRun, observing, type SignalClient } from './runs/own-runs.js';
import type { UnfinishedRuns } from './runs/unfinished-runs.js';
import { signalFailure } from './signal-failure.js';
import { asWholeKey, isOfWholeKey, wholeKeyAfter } from './whole-key.js';
import { workflowIdOf } from './workflow-id.js';

export type SignalEnd =
  | { readonly kind: 'taken' }
  /** By a run that is not ours, which repairs nothing. */
  | { readonly kind: 'misled'; readonly run: ForeignRun }
  /** Temporal refuses this key: trying again changes nothing. */
  | { readonly kind: 'refused'; readonly code: string; readonly message: string; readonly attempts: number }
  /** Nobody waits for the end any more. The signal may or may not have been taken. */
  | { readonly kind: 'aborted' };

export interface Signaller {
  /** @throws what is no answer of Temporal, hence a bug */
  signal(group: KeyGroup, events: readonly FailedWrite[], abort: AbortSignal): Promise<SignalEnd>;
  /**
   * One attempt.
   * @throws what the client throws when Temporal does not take it
   */
  once(group: KeyGroup, events: readonly FailedWrite[]): Promise<unknown>;
}

/**
 * A signal without an answer counts as failed after this. The next attempt may be its duplicate,
 * known by the event ids.
 */
const SIGNAL_TIMEOUT_MS = 10_000;
/**
 * Attempts, about a minute, for a key that Temporal takes nothing of while it takes other keys, and
 * for a workflow that no worker reads. Past that it is better to let the others go on.
 */
const MOST_ATTEMPTS = 18;
/**
 * How often another key must have been taken between two failures of a key, so that they are that
 * key's own: more than once, for an outage may just begin or end.
 */
const PASSED_BY_OTHERS = 3;

interface SignallerOptions {
  readonly client: SignalClient;
  readonly taskQueue: string;
  readonly unfinished: UnfinishedRuns;
  readonly attribute: LinkAttribute;
  readonly logger: Logger;
}

interface Sender {
  /** @returns the run that took it, if that is not ours */
  send(group: KeyGroup, events: readonly FailedWrite[]): Promise<ForeignRun | null>;
  /**
   * Whether Temporal has taken another key's signal since then. Where nobody else has sent one, the
   * last one is sent again: its events are known by their ids, so that is only a question.
   */
  takesOthers(since: number): Promise<boolean>;
}

function createSender({ client, taskQueue, unfinished, attribute }: SignallerOptions): Sender {
  const temporal = observing(client, taskQueue);
  /** The last signal that was taken, of whichever key. */
  let lastTaken: { readonly group: KeyGroup; readonly events: readonly FailedWrite[]; readonly at: number } | null =
    null;

  async function send(group: KeyGroup, all: readonly FailedWrite[]): Promise<ForeignRun | null> {
    const now = Date.now();
    const workflowId = workflowIdOf(group.link, group.key);
    const sentAt = performance.now();
    const events = unfinished.includes(workflowId) ? all.map(asWholeKey) : all;
    const options = signalWithStartOptions(group, events, taskQueue, now);
    return temporal.withDeadline(now + SIGNAL_TIMEOUT_MS, async () => {
      const { signaledRunId } = await attribute.starting(group.link.name, (attributes) =>
        temporal.signalWithStart(WORKFLOW_TYPE, { ...options, ...attributes }),
      );
      const run = await temporal.foreignRun(workflowId, signaledRunId);
      lastTaken = { group, events, at: performance.now() };
      if (run === null) note(group, events, workflowId, { runId: signaledRunId, sentAt });
      return run;
    });
  }

  function note(
    { link, key }: KeyGroup,
    events: readonly FailedWrite[],
    workflowId: string,
    taken: { readonly runId: string; readonly sentAt: number },
  ): void {
    const newest = events.at(-1);
    if (newest === undefined) return;
    // Kept for a while, so without the records.
    const group: KeyGroup = { kind: 'key', link, key, writes: [] };
    unfinished.told([workflowId], {
      ...taken,
      isWhole: events.some(isOfWholeKey),
      again: (after) => send(group, [wholeKeyAfter(after, newest)]),
    });
  }

  return {
    send,
    async takesOthers(since) {
      if (lastTaken === null || lastTaken.at > since) return lastTaken !== null;
      const { group, events } = lastTaken;
      return send(group, events).then(
        () => true,
        () => false,
      );
    },
  };
}

export function createSignaller(options: SignallerOptions): Signaller {
  const { logger } = options;
  const { send, takesOthers } = createSender(options);
  const outage = new Outage(logger, 'Temporal does not take signals');

  return {
    once: send,
    async signal(group, all, abort) {
      const message = neverTaken(group);
      if (message !== null) return { kind: 'refused', code: 'TOO_LONG', message, attempts: 1 };
      let events = all;
      // While Temporal was away nobody knew whether there was room.
      let backlogged = 0;
      let passed = 0;
      let since = performance.now();
      for (let attempt = 1; !abort.aborted; attempt++) {
        try {
          const run = await send(group, events);
          outage.worked();
          return run === null ? { kind: 'taken' } : { kind: 'misled', run };
        } catch (error) {
          const failure = signalFailure(error);
          switch (failure.kind) {
            case 'unavailable':
              outage.failed(`${failure.code}: ${failure.message}`);
              if (attempt >= MOST_ATTEMPTS && (await takesOthers(since))) passed += 1;
              break;
            case 'history-lost':
              logger.warn(`Temporal ended a workflow of ${group.link.name} (${failure.message}); it is started anew`);
              events = events.map(asWholeKey);
              break;
            case 'backlogged':
              backlogged += 1;
              break;
            case 'refused':
              return { ...failure, attempts: attempt };
            case 'unexpected':
              throw error;
          }
          if (backlogged >= MOST_ATTEMPTS || passed >= PASSED_BY_OTHERS)
            return { ...failure, kind: 'refused', attempts: attempt };
          since = performance.now();
        }
        await backOff(attempt, abort);
      }
      return { kind: 'aborted' };
    },
  };
}
