/** What a worker does for dead letters: redrives, and the rules that begin some by themselves. */
import { type ClientOptions, ScheduleClient, WorkflowClient } from '@temporalio/client';
import type { Logger } from 'pino';
import { createRedriveActivities } from '../../activities/redrive.js';
import type { LinkRuntime } from '../../activities/work.js';
import type { RedriveActivities } from '../../workflows/redrive-messages.js';
import type { Config } from '../config.js';
import { openLetters } from '../dead-letters/open.js';
import type { WorkerMetrics } from '../telemetry/worker-metrics.js';
import { logStep, tellBatch, tellEnded } from './ended-attempts.js';
import { applyRules } from './letter-rules.js';
import { createRelease } from './release.js';

interface LetterWork {
  readonly activities: RedriveActivities;
  /** In the background, until closed: see `applyRules`. */
  applyRules(): void;
  close(): Promise<void>;
}

/** Nothing of it is connected before the first redrive. */
export async function openLetterWork(
  config: Config,
  runtimes: ReadonlyMap<string, LinkRuntime>,
  options: Pick<ClientOptions, 'connection' | 'namespace' | 'dataConverter'>,
  { logger, metrics }: { readonly logger: Logger; readonly metrics: WorkerMetrics },
): Promise<LetterWork> {
  const { links, dlq } = config;
  const { taskQueue } = config.temporal;
  const store = await openLetters(config, logger);
  const closing = new AbortController();
  return {
    activities: createRedriveActivities({
      runtimes,
      links: new Map(links.map((link) => [link.name, link])),
      store,
      release: createRelease({ client: new WorkflowClient(options), taskQueue, links, logger }),
      onBatch: tellBatch(logger, metrics),
      onResult: tellEnded(logger, metrics),
      onStep: logStep(logger),
    }),
    applyRules() {
      const rules = { client: new ScheduleClient(options), taskQueue, rules: dlq.rules, logger };
      void applyRules(rules, closing.signal);
    },
    async close() {
      closing.abort();
      await store.disconnect();
    },
  };
}
