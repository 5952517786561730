/**
 * What Temporal is told about one key: the signal, and the start in case no workflow of the key
 * runs.
 */
import type { WorkflowSignalWithStartOptions } from '@temporalio/client';
import { asText } from '../../workflows/details.js';
import { type FailedWrite, failedWrites, type ReconcileKeyInput } from '../../workflows/messages.js';
import { settledAt } from '../../workflows/settle.js';
import type { LinkConfig } from '../config.js';
import type { KeyGroup } from './group.js';
import { startOptions } from './start-options.js';

/**
 * Temporal takes 4 MiB in one message, and a start with a signal has the key twice. It would refuse
 * more as it does what comes too fast: each client then tries again for as long as it may.
 */
const LONGEST_KEY_BYTES = 2 * 1024 * 1024 - 16 * 1024;

/** Why Temporal never takes this key; null: it may. */
export function neverTaken({ key }: Pick<KeyGroup, 'key'>): string | null {
  if (key.length <= LONGEST_KEY_BYTES) return null;
  return `a key of ${key.length} bytes does not fit into a message to Temporal; copy it by hand`;
}

/** @param now ms since the epoch */
export function signalWithStartOptions(
  { link, key }: KeyGroup,
  events: readonly FailedWrite[],
  taskQueue: string,
  now: number,
): WorkflowSignalWithStartOptions<[FailedWrite[]]> & { args: [ReconcileKeyInput] } {
  const startDelay = settleLeft(events, link, now);
  return {
    ...startOptions(link, key, taskQueue),
    workflowIdReusePolicy: 'ALLOW_DUPLICATE',
    signal: failedWrites,
    signalArgs: [events.map((event) => withAge(event, now))],
    staticSummary: `${asText(events[0]?.command ?? 'a write')} failed on ${asText(link.name)}`,
    // Heeded only by a start. A further signal ends the delay; the workflow then sleeps for what is
    // missing.
    ...(startDelay > 0 && { startDelay }),
  };
}

function withAge(event: FailedWrite, now: number): FailedWrite {
  if (event.receivedAt === undefined) return event;
  return { ...event, receivedAgoMs: Math.max(0, now - Date.parse(event.receivedAt)) };
}

/**
 * ms until what may still be in flight to the target has landed; 0 when nothing can be. At most
 * `settle`, whatever clocks say.
 */
function settleLeft(events: readonly FailedWrite[], link: LinkConfig, now: number): number {
  const { settle, source } = link;
  // Of a cache, what is stale is deleted now; see `looksTwice` in workflows/policy.ts.
  if ('mysql' in source) return 0;
  return Math.max(0, ...events.map((event) => settledAt(event, settle, now) - now));
}
