/**
 * What is told of an attempt at a key when it has ended, in the log and in the metrics; of a batch
 * and of a sweep, too.
 */
import type { Logger } from 'pino';
import type { createBatchActivities } from '../../activities/batch.js';
import type { create } from '../../activities/index.js';
import type { createRedriveActivities } from '../../activities/redrive.js';
import type { createSweepActivities } from '../../activities/sweep.js';
import { askedOf, comparesAll, type SweepOptions } from '../../workflows/sweep-messages.js';
import { counted } from '../plural.js';
import { inBrackets } from '../sweep/part-of.js';
import { differencesIn } from '../sweep/tally.js';
import type { WorkerMetrics } from '../telemetry/worker-metrics.js';

type OnResult = Parameters<typeof create>[0]['onResult'];
type OnBatch = Parameters<typeof createBatchActivities>[0]['onBatch'];
type OnStep = Parameters<typeof createRedriveActivities>[0]['onStep'];
type OfSweeps = Pick<Parameters<typeof createSweepActivities>[0], 'onSwept' | 'onFailed'>;

/** One line at info for each repair, and at debug for each other attempt; never a value. */
export function tellEnded(logger: Logger, metrics: WorkerMetrics): OnResult {
  return (result, durationMs, { link, workflowId, attempt, eventId, failedAt }) => {
    const { outcome } = result;
    const of = { link, workflowId, eventId, attempt, durationMs: Math.round(durationMs) };
    metrics.attemptTook(link, durationMs);
    // A write whose second look had to wait is repaired, too.
    const repaired = outcome === 'deferred' ? result.repaired : outcome === 'repaired' ? result : null;
    if (repaired !== null) {
      metrics.attempted(link, 'repaired');
      if (failedAt !== undefined) metrics.converged(link, failedAt);
      const { action, type, bytes } = repaired;
      logger.info({ ...of, action, type, bytes }, 'repaired');
      return;
    }
    const error = outcome === 'failed' ? { type: result.error.type, stage: result.error.stage } : undefined;
    metrics.attempted(link, outcome, error?.type);
    logger.debug({ ...of, outcome, ...error }, 'attempt ended');
  };
}

/** One line at info for each attempt at a batch that has repaired something, else at debug. */
export function tellBatch(logger: Logger, metrics: WorkerMetrics): OnBatch {
  return ({ workflowId, request: { link, writes }, reply, durationMs }) => {
    const repairs = [...reply.repaired, ...reply.lookAgain];
    const count = (lists: readonly { readonly indices: readonly number[] }[]) =>
      lists.reduce((sum, { indices }) => sum + indices.length, 0);
    const [keys, repaired, failed, deferred] = [
      writes.length,
      repairs.length,
      count(reply.failed),
      count(reply.deferred),
    ];
    metrics.attempted(link, 'equal', '', keys - repaired - failed - deferred - reply.large.length);
    metrics.attempted(link, 'repaired', '', repaired);
    metrics.attempted(link, 'deferred', '', deferred);
    metrics.attempted(link, 'large', '', reply.large.length);
    for (const { error, indices } of reply.failed) metrics.attempted(link, 'failed', error.type, indices.length);
    for (const index of repairs) {
      const { merged, failedAt } = writes[index]!;
      metrics.converged(link, Date.parse(merged?.firstFailedAt ?? failedAt));
    }
    const level = repaired > 0 || failed > 0 ? 'info' : 'debug';
    const news = `batch: ${repaired} of ${counted(keys, 'key')} repaired${failed > 0 ? `, ${failed} failed` : ''}`;
    logger[level]({ link, workflowId, keys, repaired, failed, durationMs: Math.round(durationMs) }, news);
  };
}

/** One line at info for each step of a redrive that did something. */
export function logStep(logger: Logger): OnStep {
  return (step) => {
    const { action, redriven, healed, alreadyEqual, failedAgain, discarded } = step;
    const news =
      action === 'discard'
        ? `dead letters: ${discarded} discarded`
        : `dead letters: ${redriven} redriven, ${healed} healed, ${alreadyEqual} equal already, ${failedAgain} failed again`;
    logger[redriven + discarded > 0 ? 'info' : 'debug'](step, news);
  };
}

/** One line for each sweep at its end; a warning where it has not found both sides equal. */
export function tellSweeps(logger: Logger, metrics: WorkerMetrics): OfSweeps {
  return {
    onSwept({ link, options }, summary) {
      const { outcome, compared, differing, handedOver, repaired, unsettled, failed, reasons, consistent } = summary;
      const differ = differencesIn({ differing });
      const news = `${nameOf(link, options)}: ${outcome}, ${counted(compared, 'key')} compared, ${differ} differ`;
      const asked = askedOf(options);
      const told = { link, asked, outcome, compared, differing, handedOver, repaired, unsettled, failed, reasons };
      logger[outcome === 'equal' ? 'info' : 'warn'](told, news);
      metrics.swept(link, { ...ofAll(options), outcome, compared, repaired, differing: differ, consistent });
    },
    onFailed({ link, options }, { type, message }) {
      const told = { link, asked: askedOf(options), outcome: 'failed', error: { type } };
      logger.error(told, `${nameOf(link, options)} failed: ${type}: ${message}`);
      metrics.swept(link, { ...ofAll(options), outcome: 'failed', compared: 0, repaired: 0, differing: 0 });
    },
  };
}

const ofAll = (options: SweepOptions) => ({ ofAll: comparesAll(options) });

/** The pattern is in the fields alone, where `tracing.privacy` knows it: it may be a key. */
function nameOf(link: string, options: SweepOptions): string {
  const { match, ...asked } = askedOf(options);
  return `sweep of link ${link}${inBrackets(match === undefined ? asked : { ...asked, match: 'a pattern' })}`;
}
