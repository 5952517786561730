/**
 * From a log of failed writes to Temporal: one signal per key, no record lost. Entry point; the
 * parts are beside it.
 */
import type { Logger } from 'pino';
import type { Config } from '../config.js';
import { LinkAttribute } from '../temporal/link-attribute.js';
import { watchFollowers } from './followers.js';
import type { Counters, Forwarding } from './forwarder.js';
import { createGaps } from './gaps.js';
import { intakeOf } from './intakes.js';
import type { SignalClient } from './own-runs.js';
import { createSignaller } from './signaller.js';
import { watchUnfinishedRuns } from './unfinished-runs.js';

interface BridgeOptions {
  readonly config: Config;
  /** `client.workflow` of a Temporal client. The bridge does not close its connection. */
  readonly client: SignalClient;
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
}

/**
 * Starts to forward failed writes.
 * @throws KafkaSetupError when Kafka does not answer or a topic is missing
 * @throws RedisFailure when the intake is redis-stream and no source answers
 */
export async function startBridge({ config, client, logger }: BridgeOptions): Promise<Bridge> {
  const links = new Map(config.links.map((link) => [link.name, link]));
  const { taskQueue } = config.temporal;
  const attribute = new LinkAttribute(logger);
  const unfinished = await watchUnfinishedRuns(client, logger);
  const signaller = createSignaller({ client, taskQueue, unfinished, attribute, logger });
  const followers = watchFollowers({ client, taskQueue, links, signaller, unfinished, logger });
  const stopWatching = async () => {
    await Promise.all([unfinished.stop(), followers.stop()]);
  };
  const forwarding: Forwarding = {
    signaller,
    gaps: createGaps({ client, taskQueue, attribute, links, logger }),
    links,
    logger,
  };
  const {
    counters,
    finished: intakeEnded,
    stop,
  } = await intakeOf(config)
    .start(forwarding)
    .catch(async (error: unknown) => {
      await stopWatching();
      throw error;
    });
  // With it: whoever closes the connection then must not cut off a call, which its SDK would retry
  // on the closed one, outside of every promise.
  const finished = intakeEnded.finally(stopWatching);
  finished.catch(() => {});
  return {
    counters,
    finished,
    async stop() {
      await Promise.all([stop(), stopWatching()]);
      // A bridge that had ended by itself has said so already.
      await finished.catch(() => {});
    },
  };
}
