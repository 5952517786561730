/** Starts a redrive, and says how it goes until it has ended. */
import { hostname, userInfo } from 'node:os';
import type { Client } from '@temporalio/client';
import { ulid } from 'ulid';
import type { redrive } from '../../workflows/redrive.js';
import {
  progress,
  REDRIVE_ID_PREFIX,
  REDRIVE_TYPE,
  type RedriveCounts,
  type RedriveInput,
  type RedriveMemo,
  type RedriveResult,
} from '../../workflows/redrive-messages.js';
import type { Config } from '../config.js';
import { openRuns } from '../temporal/quoted.js';
import { EXIT, report, VerbError } from './context.js';
import { toTheEnd } from './long-work.js';

/** @throws VerbError when one is under way, it failed, or nobody does it */
export async function redriveToTheEnd(client: Client, config: Config, input: RedriveInput): Promise<RedriveResult> {
  await expectNone(client, config);
  const { action, filter, by, reason } = input;
  const handle = await client.workflow.start<typeof redrive>(REDRIVE_TYPE, {
    workflowId: `${REDRIVE_ID_PREFIX}${ulid()}`,
    taskQueue: config.temporal.taskQueue,
    args: [input],
    memo: { action, filter, by, reason } satisfies RedriveMemo,
    staticSummary: `${action} of dead letters by ${by}`,
  });
  report(`started ${handle.workflowId}; signals: pause, resume, rate; it goes on if this verb ends`);
  return toTheEnd(client, config, handle, {
    query: progress,
    describe: ({ state, counts, waitsFor }) =>
      `${state === 'paused' ? 'paused, ' : ''}${describeCounts(action, counts)}${describeWaiting(counts, waitsFor)}`,
    last: ({ counts }) => describeCounts(action, counts),
  });
}

/**
 * Two at once harm no letter, but would say twice what became of it. One that has just been started
 * may be missed: what is listed lags behind by about a second.
 */
async function expectNone(client: Client, { temporal }: Config): Promise<void> {
  const query = openRuns(REDRIVE_TYPE, temporal.taskQueue);
  for await (const { workflowId, startTime } of client.workflow.list({ query })) {
    throw new VerbError(`${workflowId} has run since ${startTime.toISOString()}; wait for its end, or cancel it`);
  }
}

/** Who is named where nobody says. */
export function whoRuns(): string {
  return `${userName()}@${hostname()}`;
}

/** In a container a user may have a number alone. */
function userName(): string {
  try {
    return userInfo().username;
  } catch {
    return `uid ${process.getuid?.()}`;
  }
}

export function describeCounts(action: RedriveInput['action'], counts: RedriveCounts): string {
  const { redriven, healed, alreadyEqual, failedAgain, discarded } = counts;
  if (action === 'discard') return `${discarded} discarded`;
  return `${redriven} redriven: ${healed} healed, ${alreadyEqual} equal already, ${failedAgain} failed again`;
}

/** Of letters whose server is out. A worker of an earlier version knows of none. */
export function describeWaiting({ waiting = 0 }: Partial<RedriveCounts>, waitsFor: string | null = null): string {
  return waiting > 0 ? `; ${waiting} waiting for ${waitsFor}, which does not answer` : '';
}

/** For scripts. */
export function exitOf({ outcome, counts: { waiting = 0, ...counts } }: RedriveResult): number {
  if (counts.failedAgain > 0) return EXIT.divergence;
  return outcome === 'cancelled' || counts.unusable + counts.exhausted + waiting > 0 ? EXIT.incomplete : EXIT.ok;
}
