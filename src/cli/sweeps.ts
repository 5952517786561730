/** Starts a sweep or joins the one under way, and says how it goes until it has ended. */
import { type Client, WorkflowExecutionAlreadyStartedError, type WorkflowHandle } from '@temporalio/client';
import type { sweep } from '../../workflows/sweep.js';
import {
  type AskedOptions,
  askedOf,
  progress,
  SWEEP_TYPE,
  type SweepMemo,
  type SweepOptions,
  type SweepProgress,
  type SweepResult,
  sweepWorkflowId,
} from '../../workflows/sweep-messages.js';
import type { Config, LinkConfig } from '../config.js';
import { counted } from '../plural.js';
import { countDifferences } from '../sweep/report.js';
import { LinkAttribute } from '../temporal/link-attribute.js';
import { report, VerbError } from './context.js';
import { toTheEnd } from './long-work.js';

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
  const handle =
    (await start(client, config, link, options)) ?? (await join(client, config, link, joins ? options : null));
  return toTheEnd(client, config, handle, {
    query: progress,
    describe: describeProgress,
    last: (result) => describeProgress({ ...result, state: 'done', percent: 100, etaSeconds: null }),
  });
}

/** @returns null when one is under way */
async function start(client: Client, config: Config, link: LinkConfig, options: SweepOptions): Promise<Handle | null> {
  try {
    return await new LinkAttribute({ warn: report, info() {} }).starting(link.name, (attributes) =>
      client.workflow.start<typeof sweep>(SWEEP_TYPE, {
        workflowId: sweepWorkflowId(link.name),
        taskQueue: config.temporal.taskQueue,
        args: [{ link: link.name, settleMs: link.settle, options }],
        memo: { options: askedOf(options) } satisfies SweepMemo,
        ...attributes,
      }),
    );
  } catch (error) {
    if (error instanceof WorkflowExecutionAlreadyStartedError) return null;
    throw error;
  }
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
  report(`joined the sweep of link ${link.name} that has run since ${since}`);
  return client.workflow.getHandle<typeof sweep>(handle.workflowId, undefined, { firstExecutionRunId: runId });
}

/** How fast it is makes no difference. null: of one that was started by hand nobody knows. */
function lookedFor(options: AskedOptions | undefined): string | null {
  if (options === undefined) return null;
  const { match, type, sample, keys, repair } = options;
  return JSON.stringify([match, type, sample, keys, repair]);
}

function describeProgress(now: Omit<SweepProgress, 'link' | 'options' | 'startedAt'>): string {
  const { state, percent, compared, repaired, etaSeconds } = now;
  const differing = countDifferences(now);
  return [
    state === 'paused' ? 'paused' : bar(percent),
    `${percent.toFixed(1)} %`,
    `${counted(compared, 'key')} compared`,
    `${differing} ${differing === 1 ? 'differs' : 'differ'}`,
    ...(repaired > 0 ? [`${repaired} repaired`] : []),
    ...(etaSeconds === null || state !== 'comparing' ? [] : [`about ${etaSeconds} s left`]),
  ].join(', ');
}

const BAR_WIDTH = 20;

function bar(percent: number): string {
  const done = Math.round((percent / 100) * BAR_WIDTH);
  return `[${'#'.repeat(done)}${'.'.repeat(BAR_WIDTH - done)}]`;
}
