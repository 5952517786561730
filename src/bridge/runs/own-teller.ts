/**
 * Messages to the one workflow of its kind that a link has, which is started where none runs. A run
 * that is not ours would take them, and nobody would hear of it.
 */
import { WorkflowClient } from '@temporalio/client';
import { type SignalDefinition, WorkflowNotFoundError } from '@temporalio/common';
import type { Logger } from 'pino';
import type { LinkAttribute } from '../../temporal/link-attribute.js';
import { type ForeignRun, foreignRunOf, observing, type SignalClient } from './own-runs.js';

export interface TellerOptions {
  readonly client: SignalClient;
  readonly taskQueue: string;
  readonly attribute: LinkAttribute;
  readonly logger: Logger;
}

interface Message<Args extends unknown[]> {
  readonly link: string;
  readonly workflowId: string;
  /** Of the start. */
  readonly args: unknown[];
  readonly signal: SignalDefinition<Args>;
  readonly signalArgs: Args;
}

const SIGNAL_TIMEOUT_MS = 10_000;
const LINE_EVERY_MS = 60_000;

/**
 * @returns resolves when a run of ours has it; throws what the client throws, and, after a line in
 *   the log, where a run has it that is not ours. To try again is right in both cases
 */
export function ownTeller({ client, taskQueue, attribute, logger }: TellerOptions, type: string) {
  const temporal = observing(client, taskQueue, type);
  const saidAt = new Map<string, number>();

  function refuse(run: ForeignRun | null, workflowId: string, link: string): void {
    if (run === null) return;
    const message =
      `${workflowId} is a workflow of type ${run.type} on task queue ${run.taskQueue}, not one of this keymend on ${taskQueue}: ` +
      'nobody hears what it is told. Terminate it, or give keymend a Temporal namespace of its own';
    const now = performance.now();
    if (now - (saidAt.get(workflowId) ?? Number.NEGATIVE_INFINITY) >= LINE_EVERY_MS) {
      saidAt.set(workflowId, now);
      logger.error({ link, workflowId }, message);
    }
    throw new Error(message);
  }

  return <Args extends unknown[]>({ link, workflowId, args, signal, signalArgs }: Message<Args>): Promise<void> =>
    temporal.withDeadline(Date.now() + SIGNAL_TIMEOUT_MS, async () => {
      refuse(await foreignUnder(client, { workflowId, taskQueue, type }), workflowId, link);
      const start = { workflowId, taskQueue, args, signal: signal.name, signalArgs: signalArgs as unknown[] };
      const { signaledRunId } = await attribute.starting(link, (attributes) =>
        temporal.signalWithStart(type, { ...start, ...attributes }),
      );
      // Another may have begun in between.
      refuse(await temporal.foreignRun(workflowId, signaledRunId), workflowId, link);
    });
}

/** Asked first, so that somebody else is told nothing, however often it is tried. */
async function foreignUnder(
  client: SignalClient,
  { workflowId, taskQueue, type }: { readonly workflowId: string; readonly taskQueue: string; readonly type: string },
): Promise<ForeignRun | null> {
  // A stand-in for a client tells nothing of its runs.
  if (!(client instanceof WorkflowClient)) return null;
  try {
    const run = await client.getHandle(workflowId).describe();
    return run.status.name === 'RUNNING' ? foreignRunOf(run, taskQueue, type) : null;
  } catch (error) {
    if (error instanceof WorkflowNotFoundError) return null;
    throw error;
  }
}
