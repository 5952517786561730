/** What a worker counts. */
import { Counter, Gauge, Histogram, type Registry } from 'prom-client';
import { ERRORS } from '../../workflows/error-types.js';
import type { Metrics } from './metrics.js';

type Result = 'equal' | 'repaired' | 'deferred' | 'large' | 'failed';

interface EndedSweep {
  /** It has looked at all keys, and not at a part of them. */
  readonly ofAll: boolean;
  readonly outcome: string;
  readonly compared: number;
  readonly differing: number;
  readonly repaired: number;
  /** Of a sample of a cache. */
  readonly consistent?: readonly { readonly withinSeconds: number; readonly part: number }[] | undefined;
}

export interface WorkerMetrics {
  /** Attempts at `keys` keys of a link. @param error the type, of those that failed */
  attempted(link: string, result: Result, error?: string, keys?: number): void;
  attemptTook(link: string, ms: number): void;
  /** A key was repaired. @param failedAt when its write failed first, in ms since the epoch */
  converged(link: string, failedAt: number): void;
  /** @param shard the server of the target that has the budget, or a share of it */
  budgetWaited(link: string, shard: string, ms: number): void;
  budgetUsed(link: string, shard: string, operations: number): void;
  outageBegan(link: string): void;
  outageEnded(link: string): void;
  escalated(link: string, error: string): void;
  deadLettered: Metrics['deadLettered'];
  /** A message was given to the webhook of a link, which has taken it or not. */
  webhookAsked(link: string, result: 'sent' | 'failed'): void;
  swept(link: string, sweep: EndedSweep): void;
}

/** From a tenth of a second to a day; 60, 300 and 600 are what the service level is told by. */
const LAG_SECONDS = [0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 600, 900, 3_600, 21_600, 86_400];
const ATTEMPT_SECONDS = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 30, 300];
/** Who would wait for more than a quarter of a second is sent away, for half a minute at most. */
const BUDGET_SECONDS = [0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60];

/** The label of a link or an error that is not known here, and of a server above so many. */
const OTHER = 'other';
/** Of a link: where addresses change with each failover there are ever new ones. */
const MOST_SHARDS = 100;

type NewCounter = <Label extends string>(name: string, help: string, ...labelNames: Label[]) => Counter<Label>;

/** @param links those of the configuration, so that each is there from the beginning */
export function workerMetrics(metrics: Metrics, links: readonly string[]): WorkerMetrics {
  const registers = [metrics.registry];
  const counter: NewCounter = (name, help, ...labelNames) => new Counter({ name, help, labelNames, registers });
  const histogram = (name: string, help: string, buckets: number[]) =>
    new Histogram({ name, help, labelNames: ['link'], buckets, registers });
  const reconciles = counter(
    'keymend_reconciles_total',
    'Ended attempts at keys, alone or in batches, by result; of those that failed by the type of their error.',
    ...(['link', 'result', 'error'] as const),
  );
  const took = histogram('keymend_attempt_seconds', 'How long an attempt at one key took.', ATTEMPT_SECONDS);
  const lag = histogram(
    'keymend_convergence_lag_seconds',
    'From the failure of a write, the oldest that a repair was for, until the key was repaired.',
    LAG_SECONDS,
  );
  const outages = new Gauge({
    name: 'keymend_outages',
    help: 'Servers of the target that do not answer this worker.',
    labelNames: ['link'],
    registers,
  });
  const escalations = counter(
    'keymend_escalations_total',
    'Keys that were given up on for now, by the type of the last error.',
    ...(['link', 'error'] as const),
  );
  const messages = counter(
    'keymend_webhook_messages_total',
    'Tries to send a message to the webhook of a link, by result.',
    ...(['link', 'result'] as const),
  );
  for (const link of links) {
    for (const result of ['equal', 'repaired'] satisfies Result[]) reconciles.inc({ link, result, error: '' }, 0);
    for (const each of [took, lag]) each.zero({ link });
    outages.set({ link }, 0);
  }
  const { linkOf, errorOf } = bounded(links);
  return {
    attempted: (link, result, error = '', keys = 1) =>
      reconciles.inc({ link: linkOf(link), result, error: errorOf(error) }, keys),
    attemptTook: (link, ms) => took.observe({ link: linkOf(link) }, ms / 1_000),
    // By a clock that is ahead it would have failed in the future.
    converged: (link, failedAt) => lag.observe({ link: linkOf(link) }, Math.max(0, Date.now() - failedAt) / 1_000),
    ...budgetMetrics(counter, registers),
    outageBegan: (link) => outages.inc({ link }),
    outageEnded: (link) => outages.dec({ link }),
    escalated: (link, error) => escalations.inc({ link: linkOf(link), error: errorOf(error) }),
    deadLettered: (reason) => metrics.deadLettered(reason),
    webhookAsked: (link, result) => messages.inc({ link, result }),
    swept: sweepMetrics(counter, registers, links),
  };
}

/**
 * By the servers of the target: each master of a Cluster has a share, and may be the one that is
 * narrow.
 */
function budgetMetrics(counter: NewCounter, registers: Registry[]): Pick<WorkerMetrics, 'budgetWaited' | 'budgetUsed'> {
  const waited = new Histogram({
    name: 'keymend_budget_wait_seconds',
    help: 'How long repairs wait for the budget: here, or sent away for so long.',
    labelNames: ['link', 'shard'],
    buckets: BUDGET_SECONDS,
    registers,
  });
  const used = counter(
    'keymend_budget_operations_total',
    'Operations of repairs at the target of a link, by its servers.',
    ...(['link', 'shard'] as const),
  );
  const seen = new Map<string, Set<string>>();
  const shardOf = (link: string, shard: string) => {
    const shards = seen.get(link) ?? new Set();
    seen.set(link, shards);
    if (shards.size < MOST_SHARDS) shards.add(shard);
    return shards.has(shard) ? shard : OTHER;
  };
  return {
    budgetWaited: (link, shard, ms) => waited.observe({ link, shard: shardOf(link, shard) }, ms / 1_000),
    budgetUsed: (link, shard, operations) => used.inc({ link, shard: shardOf(link, shard) }, operations),
  };
}

function sweepMetrics(counter: NewCounter, registers: Registry[], links: readonly string[]): WorkerMetrics['swept'] {
  const sweeps = counter(
    'keymend_sweeps_total',
    'Ended sweeps, by outcome, and by whether they have looked at all keys or at some: a pattern, a type, a sample.',
    ...(['link', 'outcome', 'keys'] as const),
  );
  const swept = counter('keymend_sweep_compared_keys_total', 'Keys that ended sweeps have compared.', 'link');
  const differed = counter('keymend_sweep_differing_keys_total', 'Keys that ended sweeps found to differ.', 'link');
  const mended = counter('keymend_sweep_repaired_keys_total', 'Keys that ended sweeps have repaired.', 'link');
  const consistency = new Gauge({
    name: 'keymend_sweep_consistent_ratio',
    help: 'Of the last scheduled sample of a cache, the part that was as its rows say, or became so in time.',
    labelNames: ['link', 'within_seconds'],
    registers,
  });
  for (const link of links) for (const each of [swept, differed, mended]) each.inc({ link }, 0);
  const ages = new Set<number>();
  return (link, { ofAll, outcome, compared, differing, repaired, consistent }) => {
    sweeps.inc({ link, outcome, keys: ofAll ? 'all' : 'some' });
    swept.inc({ link }, compared);
    differed.inc({ link }, differing);
    mended.inc({ link }, repaired);
    // A sample that has compared nothing says nothing: what the one before it said is over.
    if (consistent !== undefined) for (const age of ages) consistency.remove({ link, within_seconds: age });
    for (const { withinSeconds, part } of consistent ?? []) {
      ages.add(withinSeconds);
      consistency.set({ link, within_seconds: withinSeconds }, part);
    }
  };
}

/** What a record or a workflow brings can be anything, and each value is a line for ever. */
function bounded(links: readonly string[]) {
  const known = new Set(links);
  return {
    linkOf: (link: string) => (known.has(link) ? link : OTHER),
    errorOf: (error: string) => (error === '' || Object.hasOwn(ERRORS, error) ? error : OTHER),
  };
}
