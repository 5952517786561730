/** What `keymend status` says of keymend itself: what is under way, and who is there to do it. */
import type { Client } from '@temporalio/client';
import { pino } from 'pino';
import { SEARCH_ATTRIBUTES, WORKFLOW_TYPE } from '../../../workflows/messages.js';
import { intakeOf } from '../../bridge/intakes.js';
import type { Config } from '../../config.js';
import { counted } from '../../plural.js';
import { versionIn } from '../../temporal/identity.js';
import { openRuns } from '../../temporal/quoted.js';
import { askTemporal } from '../ask-temporal.js';
import { describeSweeps, type SweepsReport, sweepsReport } from '../sweeps/sweep-reports.js';
import { type BatchesReport, batchesReport, describeBatches } from './batches.js';
import { describeNotices, type NoticesReport, noticesReport } from './notices.js';
import { describeOutages, type OutagesReport, outagesReport } from './outages.js';

/** null: unknown, see `problem`, which is null where all is known. */
export interface ServicesReport {
  /** Workflows of keys. What is listed lags behind by about a second. */
  readonly workflows: {
    readonly running: number | null;
    /** How many of those wait for somebody. */
    readonly escalated: number | null;
    readonly problem: string | null;
  };
  /** Those that asked for work lately: a worker that has stopped counts for a minute more. */
  readonly workers: {
    readonly taskQueue: string;
    readonly count: number | null;
    /** Releases of those that say which they are. */
    readonly versions: readonly string[];
    readonly problem: string | null;
  };
  /** Those that read failed writes now. */
  readonly bridges: {
    readonly count: number | null;
    /** Releases of those that say which they are. */
    readonly versions: readonly string[];
    readonly problem: string | null;
  };
  readonly outages: OutagesReport;
  readonly batches: BatchesReport;
  readonly webhooks: NoticesReport;
  readonly sweeps: SweepsReport;
}

const TIMEOUT_MS = 5_000;
/** A worker that has nothing to do asks once a minute. */
const HEARD_OF_MS = 70_000;
const WORKFLOW_TASKS = 1; // temporal.api.enums.v1.TaskQueueType

/** @param client an Error where Temporal does not answer */
export async function servicesReport(client: Client | Error, config: Config): Promise<ServicesReport> {
  const [workflows, workers, bridges, outages, batches, webhooks, sweeps] = await Promise.all([
    workflowsReport(client, config),
    workersReport(client, config),
    bridgesReport(config),
    outagesReport(client, config),
    batchesReport(client, config),
    noticesReport(client, config),
    sweepsReport(client, config),
  ]);
  return { workflows, workers, bridges, outages, batches, webhooks, sweeps };
}

async function workflowsReport(client: Client | Error, config: Config): Promise<ServicesReport['workflows']> {
  const ours = openRuns(WORKFLOW_TYPE, config.temporal.taskQueue);
  const count = (query: string) =>
    askTemporal(client, TIMEOUT_MS, async (temporal) => (await temporal.workflow.count(query)).count);
  const running = await count(ours);
  if (running instanceof Error) return { running: null, escalated: null, problem: running.message };
  // An attribute that is missing hides the second number alone.
  const escalated = await count(`${ours} AND ${SEARCH_ATTRIBUTES.state} = "escalated"`);
  if (escalated instanceof Error) return { running, escalated: null, problem: escalated.message };
  return { running, escalated, problem: null };
}

export async function workersReport(client: Client | Error, config: Config): Promise<ServicesReport['workers']> {
  const { taskQueue } = config.temporal;
  const pollers = await askTemporal(client, TIMEOUT_MS, async (temporal) => {
    const { namespace } = temporal.options;
    const request = { namespace, taskQueue: { name: taskQueue }, taskQueueType: WORKFLOW_TASKS };
    return (await temporal.workflowService.describeTaskQueue(request)).pollers;
  });
  if (pollers instanceof Error) return { taskQueue, count: null, versions: [], problem: pollers.message };
  const since = Date.now() - HEARD_OF_MS;
  const heardOf = pollers.filter(({ lastAccessTime }) => Number(lastAccessTime?.seconds ?? 0) * 1000 >= since);
  const builds = heardOf.flatMap(
    ({ deploymentOptions, identity }) => versionIn(identity ?? '') ?? (deploymentOptions?.buildId || []),
  );
  const count = new Set(heardOf.map(({ identity }) => identity)).size;
  return { taskQueue, count, versions: [...new Set(builds)].sort(), problem: null };
}

export async function bridgesReport(config: Config): Promise<ServicesReport['bridges']> {
  try {
    const readers = await intakeOf(config).readers(pino({ level: 'silent' }));
    const problem = readers === null ? 'it reads nothing that is there yet: no source has an outbox' : null;
    const versions = new Set(readers?.filter((version) => version !== null));
    return { count: readers?.length ?? null, versions: [...versions].sort(), problem };
  } catch (error) {
    return { count: null, versions: [], problem: (error as Error).message };
  }
}

/**
 * Lines for a person.
 * @param waiting of what waits, behind what is under way
 */
export function describeServices(
  { workflows, workers, bridges, outages, batches, webhooks, sweeps }: ServicesReport,
  waiting: readonly string[],
): string[] {
  const services = [describeWorkflows(workflows), ...waiting, describeWorkers(workers), describeBridges(bridges)];
  const inLanes = [...describeSweeps(sweeps), ...describeBatches(batches)];
  const problems = [...describeOutages(outages), ...describeNotices(webhooks)];
  return ['keymend', ...[...services, ...inLanes, ...problems].map(indent)];
}

function indent(line: string): string {
  return `  ${line}`;
}

function describeWorkflows({ running, escalated, problem }: ServicesReport['workflows']): string {
  if (running === null) return `how many keys are under way is not known: ${problem}`;
  const waiting =
    escalated === null ? `how many of them are escalated is not known: ${problem}` : `${escalated} escalated`;
  return `${counted(running, 'key')} under way, ${waiting}`;
}

export function describeWorkers({ taskQueue, count, versions, problem }: ServicesReport['workers']): string {
  if (count === null) return `whether a worker runs is not known: ${problem}`;
  if (count === 0) return `no worker asks for work on the task queue ${taskQueue}: nothing is repaired`;
  return `${counted(count, 'worker asks', 'workers ask')} for work on the task queue ${taskQueue}${ofReleases(versions)}`;
}

export function describeBridges({ count, versions, problem }: ServicesReport['bridges']): string {
  if (count === null) return `whether a bridge runs is not known: ${problem}`;
  if (count === 0) return 'no bridge reads failed writes: they wait where they are';
  return `${counted(count, 'bridge reads', 'bridges read')} failed writes${ofReleases(versions)}`;
}

function ofReleases(versions: readonly string[]): string {
  return versions.length === 0 ? '' : ` (${versions.length === 1 ? 'version' : 'versions'} ${versions.join(', ')})`;
}
