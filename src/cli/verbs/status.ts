/** `keymend status KEY` about a key; `keymend status` about the links. */
import type { Client } from '@temporalio/client';
import { commandsFor, describeTried, outageLine } from '../../../workflows/details.js';
import { type ErrorType, isSkipped, nextStep } from '../../../workflows/error-types.js';
import type { Config } from '../../config.js';
import { keyBytes } from '../../events/failed-write-codec.js';
import { counted } from '../../plural.js';
import { connectClient } from '../../temporal/connect.js';
import { failureText } from '../../temporal/failure-text.js';
import { type FoundInBatch, findInBatches, type SoughtKey, statusInBatch } from '../../temporal/key-in-batch.js';
import { endedBy, isUnfinished, type RunStatus, unfinishedBy } from '../../temporal/unfinished.js';
import { askStatus } from '../answers.js';
import { type Configured, readConfig, withClient } from '../configured.js';
import { chooseLink, type GlobalOptions, print, report, VerbError } from '../context.js';
import { describeComparison, type KeyComparison, keyComparison } from '../key-comparison.js';
import { type KeyWorkflow, keyWorkflow, nothingUnderWay } from '../key-workflow.js';
import { ownRun } from '../own-run.js';
import { keyText } from '../printable.js';
import { gapReports } from '../status/gaps.js';
import { describeLinks, type LinkReport, linkReports } from '../status/link-status.js';
import { describeServices, type ServicesReport, servicesReport } from '../status/service-status.js';
import { describeWaiting, type WaitingReport, waitingReport } from '../status/waiting.js';
import type { KeyOptions } from '../usage/options.js';

/** Of a run that was ended before a worker had begun it. */
const UNKNOWN = {
  attempts: null,
  pending: null,
  firstFailedAt: null,
  lastFailedAt: null,
  lastOutcome: null,
  lastError: null,
  outage: null,
  skipReason: null,
};

/** The answer of the workflow, completed by what the server knows of the attempts under way. */
export interface KeyReport extends Omit<RunStatus, 'attempts' | 'pending'> {
  /** null: unknown, for the run was ended before a worker had begun it. */
  readonly attempts: number | null;
  readonly pending: number | null;
  readonly workflowId: string;
  readonly runId: string;
  /** When the run closed; null: it is open. */
  readonly finishedAt: string | null;
  /** RUNNING, COMPLETED, TERMINATED, … */
  readonly workflow: string;
  /** Of a key that travels with others: how far all of them are. */
  readonly batch?: { readonly keys: number; readonly healed: number; readonly handedOver: number };
}

export async function status(text: string | undefined, options: KeyOptions, global: GlobalOptions): Promise<void> {
  if (text === undefined) {
    const report = await wholeReport(readConfig(global), options.link);
    print(global, report, () => [
      ...describeLinks(report.links),
      ...describeServices(report, describeWaiting(report.waiting)),
    ]);
    return;
  }
  await keyStatus(text, options, global);
}

/** How the two sides differ is told also where nothing is under way, or nobody says so. */
async function keyStatus(text: string, options: KeyOptions, global: GlobalOptions): Promise<void> {
  const configured = readConfig(global);
  const key = keyWorkflow(configured.config, text, options);
  const comparing = keyComparison(key.link, keyBytes(key.key));
  const reporting = withClient(global, (client, config) => keyReport(client, config, key), configured);
  const report = await reporting.catch((error: Error) => error);
  const now = await comparing;
  if (report instanceof Error) {
    const { workflowId, link } = key;
    const known = { ...key.key, link: link.name, workflowId, state: null, now };
    print(global, known, () => linesOf([...rowsOf(known), ...describeComparison(now)]));
    throw report;
  }
  const advice = adviceFor(report, now);
  print(global, { ...report, ...advice, now }, () => describe(report, advice, now));
}

const EQUAL_NOW = 'Both sides are equal now: another try finds that, and ends the escalation.';

/** What to do about a key, by hand. null: nothing, for it does not wait for anybody. */
interface Advice {
  readonly nextStep: string | null;
  /** The command that ends the escalation then, and another one that does. */
  readonly next: string | null;
  readonly otherwise: string | null;
}

function adviceFor(report: KeyReport, { difference }: KeyComparison): Advice {
  if (report.state !== 'escalated') return { nextStep: null, next: null, otherwise: null };
  const { retry, skip, delete: vouched } = commandsFor(report);
  if (difference === 'none') return { nextStep: EQUAL_NOW, next: retry, otherwise: null };
  const type = report.lastError?.type ?? '';
  const isSuspicious = type === ('SourceSuspicious' satisfies ErrorType);
  const [next, otherwise] = isSkipped(type) ? [skip, retry] : [retry, isSuspicious ? vouched : skip];
  return { nextStep: nextStep(type), next, otherwise };
}

export interface WholeReport extends ServicesReport {
  readonly links: readonly LinkReport[];
  readonly waiting: WaitingReport;
}

/** @throws VerbError when there is no such link. What does not answer is in the report */
async function wholeReport({ config, temporal }: Configured, link: string | undefined): Promise<WholeReport> {
  if (link !== undefined) chooseLink(config, link);
  const client = await connectClient(temporal).catch((error: Error) => error);
  try {
    const links = linkReports(config, link, gapReports(client, config));
    const [services, waiting] = await Promise.all([
      servicesReport(client, config),
      waitingReport(client, config, links),
    ]);
    return { links: await links, ...services, waiting };
  } finally {
    if (!(client instanceof Error)) await client.connection.close();
  }
}

/** @throws VerbError when there is no workflow for the key, or no worker to answer for it */
export async function keyReport(client: Client, config: Config, key: KeyWorkflow): Promise<KeyReport> {
  const description = await ownRun(client, config, key);
  if (description?.status.name !== 'RUNNING') {
    const sought = { taskQueue: config.temporal.taskQueue, link: key.link.name, key: key.key };
    const { found, doubt } = await findInBatches(client, sought);
    if (found !== null) return batchedReport(sought, found);
    if (description === null) throw nothingUnderWay(key, null, doubt);
    if (doubt !== null) report(doubt);
  }
  const { runId, status, closeTime } = description;
  const finishedAt = closeTime?.toISOString() ?? null;
  const ofRun = { workflowId: key.workflowId, runId, workflow: status.name, finishedAt };
  const answer = await askStatus(client, config, key.workflowId);
  const unfinished = unfinishedBy(status.name);
  if (unfinished !== null) {
    const known = 'unanswered' in answer ? { ...key.key, link: key.link.name, ...UNKNOWN } : answer;
    return { ...known, ...ofRun, ...endedBy(unfinished) };
  }
  if ('unanswered' in answer) {
    throw new VerbError(`workflow ${key.workflowId} is ${status.name}, but ${answer.unanswered}`);
  }
  const known = { ...answer, ...ofRun };
  const pending = description.raw.pendingActivities?.find(({ activityType }) => activityType?.name === 'reconcile');
  if (pending === undefined) return known;
  // The durable activity retries inside the server: only it knows how often, why and when again.
  const failed = Number(pending.attempt ?? 1) - 1;
  const failure = pending.lastFailure;
  return {
    ...known,
    attempts: answer.attempts + failed,
    lastError: failure
      ? {
          type: failure.applicationFailureInfo?.type ?? 'Timeout',
          message: await failureText(client.workflow, failure),
          stage: answer.lastError?.stage ?? null,
        }
      : answer.lastError,
    // Its `scheduledTime` is that of the attempt before.
    nextRetry: pending.nextAttemptScheduleTime ? isoTime(pending.nextAttemptScheduleTime) : answer.nextRetry,
  };
}

function batchedReport(sought: SoughtKey, found: FoundInBatch): KeyReport {
  const { batch, workflowId, runId } = found;
  const { keys, equal, repaired, handedOver } = batch;
  return {
    ...statusInBatch(sought, found),
    workflowId,
    runId,
    workflow: 'RUNNING',
    finishedAt: null,
    batch: { keys, healed: equal + repaired, handedOver },
  };
}

function isoTime({ seconds, nanos }: { seconds?: { toString(): string } | null; nanos?: number | null }): string {
  return new Date(Number(seconds ?? 0) * 1000 + Math.floor((nanos ?? 0) / 1e6)).toISOString();
}

const NEXT_WRITE = 'the next failed write, or `keymend reconcile`, looks at the whole key';

type Row = readonly [name: string, value: string | number | null];

function linesOf(rows: readonly Row[]): string[] {
  return rows.filter(([, value]) => value !== null).map(([name, value]) => `${name.padEnd(13)} ${value}`);
}

function rowsOf(known: Pick<KeyReport, 'key' | 'encoding' | 'link'>): Row[] {
  return [
    ['key', keyText(known)],
    ['link', known.link],
  ];
}

function describe(report: KeyReport, advice: Advice, now: KeyComparison): string[] {
  const { tried = [] } = report;
  return linesOf([
    ...rowsOf(report),
    ['state', isUnfinished(report) ? `${report.state}; ${NEXT_WRITE}` : report.state],
    ['next step', advice.nextStep],
    ['then', advice.next],
    ['or', advice.otherwise],
    ['attempts', report.attempts],
    ['tried', tried.length === 0 ? null : tried.map(describeTried).join('; ')],
    ['pending', report.pending],
    ['first failed', report.firstFailedAt],
    ['last failed', report.lastFailedAt],
    ['finished at', report.finishedAt],
    ['last outcome', report.lastOutcome],
    // Of a key that is done it is over.
    [
      report.state === 'done' ? 'earlier error' : 'last error',
      report.lastError && `${report.lastError.type}: ${report.lastError.message}`,
    ],
    ['waits for', report.outage && outageLine(report.outage)],
    ['next retry', report.nextRetry],
    ['skipped', report.skipReason],
    ...describeComparison(now),
    [
      'in a batch',
      report.batch ? `of ${counted(report.batch.keys, 'key')}, ${report.batch.healed} of them healed` : null,
    ],
    ['workflow', `${report.workflowId} (${report.workflow}, run ${report.runId})`],
  ]);
}
