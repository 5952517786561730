/**
 * From a log of failed writes to Temporal: one signal per key, no record lost. Entry point; the
 * parts are beside it.
 */
import { WorkflowClient } from '@temporalio/client';
import type { Logger } from 'pino';
import type { Config } from '../config.js';
import { FailingKeys } from '../failing-keys/counter.js';
import { bridgeMetrics } from '../telemetry/bridge-metrics.js';
import { Metrics } from '../telemetry/metrics.js';
import type { Tracing } from '../telemetry/tracing.js';
import { LinkAttribute } from '../temporal/link-attribute.js';
import { createBatches, NO_BATCHES } from './batches/batches.js';
import { watchLostBatches } from './batches/lost-batches.js';
import { OpenBatches } from './batches/open-batches.js';
import { Surge } from './batches/surge.js';
import type { Counters, Forwarded, Forwarding } from './forwarder.js';
import { createGaps, type Gaps } from './gaps.js';
import { intakeOf } from './intakes.js';
import { watchOutages } from './outages.js';
import { watchFollowers } from './runs/followers.js';
import type { SignalClient } from './runs/own-runs.js';
import { type UnfinishedRuns, watchUnfinishedRuns } from './runs/unfinished-runs.js';
import { createSignaller, type Signaller } from './signaller.js';
import { watchStanding } from './standing.js';

interface BridgeOptions {
  readonly config: Config;
  /** `client.workflow` of a Temporal client. The bridge does not close its connection. */
  readonly client: SignalClient;
  /** Default: of its own, which nobody reads. */
  readonly metrics?: Metrics;
  /** The release, which `keymend status` shows of a bridge that runs; absent: it does not. */
  readonly version?: string;
  /** Absent: no spans. */
  readonly tracing?: Tracing | undefined;
  readonly logger: Logger;
}

export interface Bridge {
  /**
   * Lets what is under way end, forgets what was accepted, leaves the group. Takes at most about
   * ten seconds.
   */
  stop(): Promise<void>;
  /**
   * Resolves after `stop`; rejects when the bridge ended by itself, so that the process can end
   * with an error.
   */
  readonly finished: Promise<void>;
  /** Live: read it again for newer numbers. */
  readonly counters: Counters;
  /** For what runs beside it. */
  readonly gaps: Gaps;
}

/**
 * Starts to forward failed writes.
 * @throws KafkaSetupError when Kafka does not answer or a topic is missing
 * @throws RedisFailure when the intake is redis-stream and no source answers
 */
export async function startBridge(options: BridgeOptions): Promise<Bridge> {
  const { config, client, metrics, version, tracing, logger } = options;
  const links = new Map(config.links.map((link) => [link.name, link]));
  const { taskQueue } = config.temporal;
  const attribute = new LinkAttribute(logger);
  const unfinished = await watchUnfinishedRuns(client, logger);
  const signaller = createSignaller({ client, taskQueue, unfinished, attribute, logger });
  const followers = watchFollowers({ client, taskQueue, links, signaller, unfinished, logger });
  const outages = watchOutages(client, taskQueue);
  const surge = new Surge({ config: config.surge, isOut: outages.isOut, logger });
  const standing = watchStanding({ config, client, logger });
  let openBatches = () => 0;
  let forwarded: Forwarded | null = null;
  const told = bridgeMetrics(metrics ?? new Metrics(), {
    backlog: () => surge.backlog(),
    isReading: () => forwarded?.isReading() ?? false,
    isSurge: () => surge.isOn,
    openBatches: () => openBatches(),
    standing: () => standing.now(),
  });
  const gaps = createGaps({ client, taskQueue, attribute, links, metrics: told, logger });
  const lost = watchLostBatches({ client, taskQueue, gaps, logger });
  const starting = { client, taskQueue, attribute, unfinished, tell: signaller.once, isOut: outages.isOut, logger };
  const { batches, count, stop: stopFollowing } = await batchesOf(starting);
  openBatches = count;
  const failingKeys = new FailingKeys(logger);
  const watching = [unfinished, followers, outages, lost, { stop: stopFollowing }, standing];
  const stopWatching = async () => {
    await Promise.all([...watching.map((each) => each.stop()), failingKeys.close()]);
  };
  const forwarding: Forwarding = {
    signaller,
    surge,
    batches,
    gaps,
    failingKeys,
    links,
    metrics: told,
    version,
    tracing,
    logger,
  };
  forwarded = await intakeOf(config)
    .start(forwarding)
    .catch(async (error: unknown) => {
      await stopWatching();
      throw error;
    });
  const { counters, finished: intakeEnded, stop } = forwarded;
  // With it: whoever closes the connection then must not cut off a call, which its SDK would retry
  // on the closed one, outside of every promise.
  const finished = intakeEnded.finally(stopWatching);
  finished.catch(() => {});
  return {
    counters,
    gaps,
    finished,
    async stop() {
      await Promise.all([stop(), stopWatching()]);
      // A bridge that had ended by itself has said so already.
      await finished.catch(() => {});
    },
  };
}

interface BatchesOptions {
  readonly client: SignalClient;
  readonly taskQueue: string;
  readonly attribute: LinkAttribute;
  readonly unfinished: UnfinishedRuns;
  readonly tell: Signaller['once'];
  readonly isOut: (link: string) => boolean;
  readonly logger: Logger;
}

async function batchesOf({ client, taskQueue, isOut, logger, ...more }: BatchesOptions) {
  // A stand-in for a client starts none.
  if (!(client instanceof WorkflowClient)) return { batches: NO_BATCHES, count: () => 0, stop: async () => {} };
  const open = new OpenBatches({ client, taskQueue, isOut, logger });
  await open.adopt();
  const batches = createBatches({ client, taskQueue, open, logger, ...more });
  return { batches, count: () => open.size, stop: () => open.stop() };
}
