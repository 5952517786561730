/** A Temporal worker that reconciles the keys of the configured links. */
import { WorkflowClient } from '@temporalio/client';
import type { PayloadCodec } from '@temporalio/common';
import { type NativeConnection, Worker } from '@temporalio/worker';
import type { Logger } from 'pino';
import { BATCHES_AT_ONCE, BATCHES_IN_LINE, createBatchActivities } from '../../activities/batch.js';
import { create } from '../../activities/index.js';
import { createNoticesActivities } from '../../activities/notices.js';
import { createOutageActivities } from '../../activities/outage.js';
import {
  ATTEMPTS_AT_ONCE,
  ATTEMPTS_IN_LINE,
  LARGE_KEYS_AT_ONCE,
  LETTERS_AT_ONCE,
  LETTERS_IN_LINE,
  VERIFYING_AT_ONCE,
} from '../../activities/slots.js';
import { createSweepActivities } from '../../activities/sweep.js';
import type { LinkRuntime } from '../../activities/work.js';
import type { EscalateRequest } from '../../workflows/activities.js';
import type { Config } from '../config.js';
import type { DeadLetters } from '../events/dead-letters.js';
import { Metrics } from '../telemetry/metrics.js';
import type { Tracing } from '../telemetry/tracing.js';
import { type WorkerMetrics, workerMetrics } from '../telemetry/worker-metrics.js';
import { convertedBy } from '../temporal/connect.js';
import { workerIdentity } from '../temporal/identity.js';
import { LinkAttribute } from '../temporal/link-attribute.js';
import { activitySpans } from './activity-spans.js';
import { type Deployment, versioning, watchDeployment } from './deployment.js';
import { tellBatch, tellEnded, tellSweeps } from './ended-attempts.js';
import { publishingEscalations } from './escalations.js';
import { createHandOver } from './hand-over.js';
import { openLetterWork } from './letters.js';
import { checkLinks } from './link-checks.js';
import { connectLinks } from './links.js';
import { Notices } from './notices.js';
import { logOutage, OutageNotices } from './outage-notices.js';
import { createSweepBatches } from './sweep-batches.js';
import { createSweepStart } from './sweep-start.js';
import { FAILURE_CONVERTER, workflowCode } from './workflow-code.js';

interface WorkerOptions {
  readonly config: Config;
  readonly connection: NativeConnection;
  readonly namespace: string;
  readonly deadLetters: DeadLetters;
  /** The release of keymend. */
  readonly version: string;
  /** Default: Temporal may read the payloads. */
  readonly codec?: PayloadCodec | undefined;
  /** Search attributes that can be written now. */
  readonly usableAttributes: () => Promise<readonly string[]>;
  /** null: Temporal is not to tell releases of workers apart. */
  readonly deployment?: Deployment | null;
  /** Default: of its own, which nobody reads. */
  readonly metrics?: Metrics;
  /** Absent: no spans. */
  readonly tracing?: Tracing | undefined;
  readonly logger: Logger;
}

interface RunningWorker {
  /** It asks for work. */
  isReady(): boolean;
  /** Resolves after `stop`; rejects when the worker fails for good. */
  readonly finished: Promise<void>;
  /**
   * Takes no new work, lets running activities end within 10 s, then closes the Redis connections.
   */
  stop(): Promise<void>;
}

/**
 * Starts a worker.
 * @throws Error with one line when no link can be used as it is configured; `finished` rejects with
 *   it when that is found only later, of a server that was away at first. A link, or a master of a
 *   Cluster, that can't be used beside one that can is only logged, because its repairs retry
 *   durably and the others must not wait for it
 */
export async function startWorker(options: WorkerOptions): Promise<RunningWorker> {
  const { config, connection, namespace, codec, deployment = null, tracing, logger } = options;
  const metrics = workerMetrics(
    options.metrics ?? new Metrics(),
    config.links.map(({ name }) => name),
  );
  const identity = workerIdentity(options.version);
  const { taskQueue } = config.temporal;
  const temporal = { connection, namespace, ...convertedBy(codec) };
  const starting = { client: new WorkflowClient(temporal), taskQueue, logger };
  const attribute = new LinkAttribute(logger);
  const notices = new Notices({ ...starting, attribute, metrics, links: config.links, tracing: config.tracing });
  const outages = new OutageNotices({ ...starting, attribute, identity, isNotified: (link) => notices.isWanted(link) });
  const links = connectLinks(config.links, { listenerOf: (link) => outages.listenerOf(link), metrics, logger });
  const letters = await openLetterWork(config, links, temporal, { logger, metrics });
  let checks: Awaited<ReturnType<typeof checkLinks>> | undefined;
  const closeLinks = async () => {
    checks?.close();
    outages.close();
    const sides = [...links.values()].flatMap((link) => [link.sides.source, link.sides.target]);
    await Promise.all([letters, ...sides].map((open) => open.close()));
  };
  try {
    checks = await checkLinks(links, logger);
    const worker = await Worker.create({
      connection,
      namespace,
      taskQueue,
      workflowBundle: await workflowCode(logger, codec !== undefined),
      ...(codec && { dataConverter: { payloadCodecs: [codec], failureConverterPath: FAILURE_CONVERTER } }),
      activities: {
        ...activitiesOf({ ...options, ...starting, links, attribute, notices, metrics }),
        ...letters.activities,
      },
      identity,
      ...(tracing && { interceptors: { activity: [activitySpans(tracing, config.links)] } }),
      ...versioning(deployment),
      ...workerLimits(config),
      shutdownGraceTime: '10 seconds',
      // What a sweep or a large key's attempt has reached is known to the server this soon,
      // whatever the heartbeat timeout allows.
      maxHeartbeatThrottleInterval: '500 milliseconds',
    });
    letters.applyRules();
    const running = worker.run();
    const releases = watchDeployment({ connection, namespace, deployment, logger });
    const finished = Promise.race([running, checks.noneUsable])
      .catch(async (error: unknown) => {
        if (worker.getState() === 'RUNNING') worker.shutdown();
        await running;
        throw error;
      })
      .finally(() => Promise.all([releases.stop(), closeLinks()]));
    finished.catch(() => {}); // Heard by whoever awaits `finished`; nobody may be awaiting yet.
    return {
      finished,
      isReady: () => worker.getState() === 'RUNNING',
      async stop() {
        if (worker.getState() === 'RUNNING') worker.shutdown();
        await finished;
      },
    };
  } catch (error) {
    await closeLinks();
    throw error;
  }
}

/** How much a worker does at once: however many links hang, each of the others has its slots. */
export function workerLimits({ links }: Pick<Config, 'links'>) {
  const ofEachLink = ATTEMPTS_AT_ONCE + LARGE_KEYS_AT_ONCE + BATCHES_AT_ONCE;
  const slots = ofEachLink * links.length + ATTEMPTS_IN_LINE + BATCHES_IN_LINE + SPARE_SLOTS;
  return {
    // Local attempts hold a slot of each of the first two, also while they wait to verify.
    maxConcurrentWorkflowTaskExecutions: slots + VERIFYING_AT_ONCE,
    maxConcurrentLocalActivityExecutions: slots + VERIFYING_AT_ONCE,
    maxConcurrentActivityTaskExecutions: slots + LETTERS_AT_ONCE * links.length + LETTERS_IN_LINE,
  };
}

/** For all else: messages, hand-overs, and workflow tasks without an attempt. */
const SPARE_SLOTS = 50;

interface ActivitiesOptions extends Omit<WorkerOptions, 'connection' | 'namespace' | 'deployment' | 'metrics'> {
  readonly client: WorkflowClient;
  readonly taskQueue: string;
  readonly links: ReadonlyMap<string, LinkRuntime>;
  readonly attribute: LinkAttribute;
  readonly notices: Notices;
  readonly metrics: WorkerMetrics;
}

function activitiesOf(options: ActivitiesOptions) {
  const { config, client, taskQueue, links, attribute, notices, deadLetters, usableAttributes, metrics, logger } =
    options;
  const notify = (request: EscalateRequest) => notices.escalated(request);
  const names = config.links.map(({ name }) => name);
  const publishEscalation = publishingEscalations({ links: names, deadLetters, notify, metrics, logger });
  const handing = { client, taskQueue, attribute, links: config.links, deadLetter: publishEscalation, logger };
  const handOver = createHandOver(handing);
  return {
    ...createOutageActivities({ links, onOutage: logOutage(logger), notify: (outage) => notices.outage(outage) }),
    ...createNoticesActivities({ send: (notice) => notices.send(notice) }),
    ...createBatchActivities({ links, handOver, onBatch: tellBatch(logger, metrics) }),
    ...createSweepActivities({
      links,
      batchesOf: createSweepBatches({ ...handing, handOver }),
      start: createSweepStart(handing),
      ...tellSweeps(logger, metrics),
    }),
    ...create({
      links,
      usableAttributes,
      publishEscalation,
      lettersEnd: deadLetters.ends,
      onResult: tellEnded(logger, metrics),
    }),
  };
}
