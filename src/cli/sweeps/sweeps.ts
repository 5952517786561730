/** Starts a sweep or joins the one under way, and says how it goes until it has ended. */
import { type Client, type WorkflowHandle, WorkflowNotFoundError } from '@temporalio/client';
import type { sweep } from '../../../workflows/sweep.js';
import {
  type AskedOptions,
  askedOf,
  progress,
  rate,
  SWEEP_TYPE,
  type SweepMemo,
  type SweepOptions,
  type SweepResult,
  sweepWorkflowId,
} from '../../../workflows/sweep-messages.js';
import type { Config, LinkConfig } from '../../config.js';
import { LinkAttribute } from '../../temporal/link-attribute.js';
import { startSweep } from '../../temporal/sweeps.js';
import { report, VerbError } from '../context.js';
import { toTheEnd } from '../long-work.js';
import { describeProgress } from './sweep-progress.js';

type Handle = WorkflowHandle<typeof sweep>;

/**
 * @param joins whether one under way, of the same options, is taken for the one that is wanted
 * @throws VerbError when it failed, or nobody does it
 */
export async function sweepToTheEnd(
  client: Client,
  config: Config,
  link: LinkConfig,
  options: SweepOptions,
  joins: boolean,
): Promise<SweepResult> {
  const { taskQueue } = config.temporal;
  const attribute = new LinkAttribute({ warn: report, info() {} });
  const handle =
    (await startSweep({ client: client.workflow, taskQueue, attribute }, link, options)) ??
    (await join(client, config, link, joins ? options : null));
  return toTheEnd(client, config, handle, {
    query: progress,
    describe: describeProgress,
    last: (result) => describeProgress({ ...result, state: 'done', percent: 100, etaSeconds: null }),
  });
}

/** @param wanted null: none is joined, whatever it looks for */
async function join(client: Client, config: Config, link: LinkConfig, wanted: SweepOptions | null): Promise<Handle> {
  const handle = client.workflow.getHandle<typeof sweep>(sweepWorkflowId(link.name));
  const { type, taskQueue, runId, startTime, memo } = await handle.describe();
  if (type !== SWEEP_TYPE || taskQueue !== config.temporal.taskQueue) {
    throw new VerbError(
      `${handle.workflowId} is a workflow of type ${type} on task queue ${taskQueue}, not a sweep of this configuration; ` +
        'give keymend a Temporal namespace of its own',
    );
  }
  const since = startTime.toISOString();
  if (wanted === null) throw new VerbError(`a sweep of link ${link.name} has run since ${since}; wait for its end`);
  // Its answer would be one to another question.
  if (lookedFor((memo as Partial<SweepMemo> | undefined)?.options) !== lookedFor(askedOf(wanted))) {
    throw new VerbError(
      `a sweep of link ${link.name} with other options has run since ${since}; wait for its end, or cancel ${handle.workflowId}`,
    );
  }
  const joined = client.workflow.getHandle<typeof sweep>(handle.workflowId, undefined, { firstExecutionRunId: runId });
  const pace = await keepPace(joined, wanted.rate);
  report(`joined the sweep of link ${link.name} that has run since ${since}${pace}`);
  return joined;
}

/** @returns what is to be said of it */
async function keepPace(joined: Handle, keysPerSecond: number | undefined): Promise<string> {
  if (keysPerSecond === undefined) return '';
  try {
    await joined.signal(rate, { keysPerSecond });
    return `; it goes at ${keysPerSecond} keys a second from now on`;
  } catch (error) {
    // It has come to its end, and its result is there all the same.
    if (error instanceof WorkflowNotFoundError) return '';
    throw error;
  }
}

/** How fast it is makes no difference. null: of one that was started by hand nobody knows. */
function lookedFor(options: AskedOptions | undefined): string | null {
  if (options === undefined) return null;
  const { match, type, sample, keys, repair, readFrom } = options;
  return JSON.stringify([match, type, sample, keys, repair, readFrom]);
}
