/** The links of a worker: both sides of each, and who is told of what they meet. */
import type { Logger } from 'pino';
import type { LinkRuntime } from '../../activities/work.js';
import type { LinkConfig } from '../config.js';
import { LinkMemory } from '../engine/index.js';
import { cacheModeOf, connectSource } from '../mysql/connect-source.js';
import { connectRedis, type OutageListener, type RedisOptions } from '../redis/index.js';
import type { WorkerMetrics } from '../telemetry/worker-metrics.js';

interface LinksOptions {
  /** Told of servers of the target that do not answer. */
  readonly listenerOf: (link: string) => OutageListener;
  readonly metrics: WorkerMetrics;
  readonly logger: Logger;
}

/** By name. Connections are made when they are needed; whoever asks for them closes them. */
export function connectLinks(links: readonly LinkConfig[], options: LinksOptions): ReadonlyMap<string, LinkRuntime> {
  return new Map(links.map((link) => [link.name, connectLink(link, options)]));
}

/** Well below the 5 s of a first attempt, so that a Redis which hangs is named as such. */
const COMMAND_TIMEOUT_MS = 2_000;

function connectLink(link: LinkConfig, { listenerOf, metrics, logger }: LinksOptions): LinkRuntime {
  const { name } = link;
  const optionsOf = (side: 'source' | 'target'): RedisOptions => ({
    name: `${side} of link ${name}`,
    commandTimeoutMs: COMMAND_TIMEOUT_MS,
    largeValues: link.largeValues,
  });
  const outages = counted(name, listenerOf(name), metrics);
  const budget = {
    ...link.budget,
    link: name,
    warn: (line: string) => logger.warn({ link: name }, line),
    onWaited: (ms: number, shard: string) => metrics.budgetWaited(name, shard, ms),
    onUsed: (operations: number, shard: string) => metrics.budgetUsed(name, shard, operations),
  };
  const target = connectRedis(link.target, { ...optionsOf('target'), budget, outages });
  const sides = { source: connectSource(link, optionsOf('source')), target };
  return {
    sides: { ...sides, memory: new LinkMemory(sides) },
    options: {
      expiryToleranceMs: link.expiryTolerance,
      deleteGuard: link.deleteGuard,
      cache: cacheModeOf(link),
    },
  };
}

function counted(link: string, listener: OutageListener, metrics: WorkerMetrics): OutageListener {
  return {
    began(...outage) {
      metrics.outageBegan(link);
      listener.began(...outage);
    },
    ended(outage) {
      metrics.outageEnded(link);
      listener.ended(outage);
    },
  };
}
