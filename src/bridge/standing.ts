/**
 * What stands now, for the metrics: what is open in Temporal, what waits in outboxes, how many keys
 * fail. Asked of the servers when somebody looks; every bridge says the same.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { WorkflowClient } from '@temporalio/client';
import type { Logger } from 'pino';
import type { Config } from '../config.js';
import { countFailingKeys } from '../failing-keys/counts.js';
import { countsFailingKeys } from '../failing-keys/names.js';
import { outboxLengths } from '../outbox/lengths.js';
import { outboxSources } from '../outbox/sources.js';
import type { Standing } from '../telemetry/bridge-metrics.js';
import { openWorkflows } from '../temporal/open-workflows.js';
import type { SignalClient } from './runs/own-runs.js';

interface StandingOptions {
  readonly config: Config;
  readonly client: SignalClient;
  readonly logger: Logger;
}

/** However many look, and however often, the servers are asked no more often than this. */
const FRESH_MS = 5_000;
/** Who looks waits no longer, and gets what was said before: whoever scrapes gives up soon. */
const PATIENCE_MS = 500;
/** Of a Redis, twice: for a connection, and for the answer. */
const TIMEOUT_MS = 1_500;

/** @returns how to ask, and how to end that: nothing is asked behind it */
export function watchStanding(options: StandingOptions) {
  let said = UNKNOWN;
  let askedAt = Number.NEGATIVE_INFINITY;
  let asking: Promise<void> | null = null;
  let isStopped = false;
  return {
    async now(): Promise<Standing> {
      if (asking === null && !isStopped && performance.now() - askedAt >= FRESH_MS) {
        askedAt = performance.now();
        asking = ask(options)
          .then((standing) => {
            said = standing;
          })
          .finally(() => {
            asking = null;
          });
      }
      if (asking !== null) await Promise.race([asking, sleep(PATIENCE_MS, undefined, { ref: false })]);
      return said;
    },
    // A call that is cut off would be tried again on a closed connection.
    async stop(): Promise<void> {
      isStopped = true;
      await asking;
    },
  };
}

const UNKNOWN: Standing = { temporal: null, outboxes: new Map(), failingKeys: new Map() };

/** Never rejects: what does not answer is left out. */
async function ask({ config, client, logger }: StandingOptions): Promise<Standing> {
  const known = <T>(what: string, answer: Promise<T>): Promise<T | null> =>
    answer.catch((error: unknown) => {
      logger.debug({ error: String(error) }, `not told to the metrics: ${what}`);
      return null;
    });
  const timeout = { commandTimeoutMs: TIMEOUT_MS };
  // A stand-in for a client tells nothing.
  const open =
    client instanceof WorkflowClient
      ? known('what is open in Temporal', openWorkflows(client, config.temporal.taskQueue))
      : null;
  const outboxes = outboxSources(config.links).map(async (source) => {
    const lengths = await known(
      `the outbox of the ${source.name}`,
      outboxLengths(source, timeout, config.stream, 'topic'),
    );
    return lengths === null ? [] : source.links.map((link) => [link, lengths.entries] as const);
  });
  const failingKeys = config.links.filter(countsFailingKeys).map(async (link) => {
    const counts = await known(`failing keys of link ${link.name}`, countFailingKeys(link, timeout));
    return counts === null ? [] : [[link.name, counts.lastDay] as const];
  });
  return {
    temporal: await open,
    outboxes: new Map((await Promise.all(outboxes)).flat()),
    failingKeys: new Map((await Promise.all(failingKeys)).flat()),
  };
}
