/**
 * Tells Temporal of the failed writes of a key, and does not give up while Temporal is merely away.
 */
import type { WorkflowClient } from '@temporalio/client';
import type { Logger } from 'pino';
import { type FailedWrite, WORKFLOW_TYPE } from '../../workflows/messages.js';
import { backOff } from '../patience/back-off.js';
import { Outage } from '../patience/outage.js';
import type { KeyGroup } from './group.js';
import { signalWithStartOptions } from './key-signal.js';
import { signalFailure } from './signal-failure.js';

/** The part of Temporal's client that the bridge needs. */
export type SignalClient = Pick<WorkflowClient, 'signalWithStart' | 'withDeadline'>;

export type SignalEnd =
  | { readonly kind: 'taken' }
  /** Temporal refuses this key: trying again changes nothing. */
  | { readonly kind: 'refused'; readonly code: string; readonly message: string; readonly attempts: number }
  /** Nobody waits for the end any more. The signal may or may not have been taken. */
  | { readonly kind: 'aborted' };

export interface Signaller {
  /** @throws what is no answer of Temporal, hence a bug */
  signal(group: KeyGroup, events: readonly FailedWrite[], abort: AbortSignal): Promise<SignalEnd>;
}

/**
 * A signal without an answer counts as failed after this. The next attempt may be its duplicate,
 * known by the event ids.
 */
const SIGNAL_TIMEOUT_MS = 10_000;
/**
 * Attempts, about a minute, for a workflow that no worker reads. Past that it is better to let the
 * other keys go on.
 */
const BACKLOGGED_ATTEMPTS = 18;

export function createSignaller(client: SignalClient, taskQueue: string, logger: Logger): Signaller {
  const outage = new Outage(logger, 'Temporal does not take signals');

  async function send(group: KeyGroup, events: readonly FailedWrite[]): Promise<void> {
    const now = Date.now();
    const options = signalWithStartOptions(group, events, taskQueue, now);
    await client.withDeadline(now + SIGNAL_TIMEOUT_MS, () => client.signalWithStart(WORKFLOW_TYPE, options));
  }

  return {
    async signal(group, all, abort) {
      let events = all;
      // While Temporal was away nobody knew whether there was room.
      let backlogged = 0;
      for (let attempt = 1; !abort.aborted; attempt++) {
        try {
          await send(group, events);
          outage.worked();
          return { kind: 'taken' };
        } catch (error) {
          const failure = signalFailure(error);
          switch (failure.kind) {
            case 'unavailable':
              outage.failed(failure.reason);
              break;
            case 'history-lost':
              logger.warn(`Temporal ended a workflow of ${group.link.name} (${failure.message}); it is started anew`);
              events = asWholeKey(events);
              break;
            case 'backlogged':
              backlogged += 1;
              if (backlogged >= BACKLOGGED_ATTEMPTS) return { ...failure, kind: 'refused', attempts: attempt };
              break;
            case 'refused':
              return { ...failure, attempts: attempt };
            case 'unexpected':
              throw error;
          }
        }
        await backOff(attempt, abort);
      }
      return { kind: 'aborted' };
    },
  };
}

/**
 * What the ended workflow still had to do is unknown here, but it was something of this key: the
 * new one looks at all of it.
 */
function asWholeKey(events: readonly FailedWrite[]): readonly FailedWrite[] {
  return events.map(({ command: _command, members: _members, idempotent: _idempotent, ...rest }) => rest);
}
