/**
 * What is told of an attempt at a key when it has ended: the place for whatever counts or measures
 * repairs.
 */
import type { Logger } from 'pino';
import type { createBatchActivities } from '../../activities/batch.js';
import type { create } from '../../activities/index.js';
import type { createRedriveActivities } from '../../activities/redrive.js';
import { counted } from '../plural.js';

/** One line at info for each repair, and at debug for each other attempt; never a value. */
export function logEnded(logger: Logger): Parameters<typeof create>[0]['onResult'] {
  return (result, durationMs, { link, workflowId, attempt }) => {
    const { outcome } = result;
    const of = { link, workflowId, attempt, durationMs: Math.round(durationMs) };
    // A write whose second look had to wait is repaired, too.
    const repaired = outcome === 'deferred' ? result.repaired : outcome === 'repaired' ? result : null;
    if (repaired !== null) {
      const { action, type, bytes } = repaired;
      logger.info({ ...of, action, type, bytes }, 'repaired');
      return;
    }
    const more = outcome === 'failed' ? { type: result.error.type, stage: result.error.stage } : {};
    logger.debug({ ...of, outcome, ...more }, 'attempt ended');
  };
}

/** One line at info for each attempt at a batch that has repaired something, else at debug. */
export function logBatch(logger: Logger): Parameters<typeof createBatchActivities>[0]['onBatch'] {
  return ({ durationMs, ...told }) => {
    const { keys, repaired, failed } = told;
    const level = repaired > 0 || failed > 0 ? 'info' : 'debug';
    const news = `batch: ${repaired} of ${counted(keys, 'key')} repaired${failed > 0 ? `, ${failed} failed` : ''}`;
    logger[level]({ ...told, durationMs: Math.round(durationMs) }, news);
  };
}

/** One line at info for each step of a redrive that did something. */
export function logStep(logger: Logger): Parameters<typeof createRedriveActivities>[0]['onStep'] {
  return (step) => {
    const { action, redriven, healed, alreadyEqual, failedAgain, discarded } = step;
    const news =
      action === 'discard'
        ? `dead letters: ${discarded} discarded`
        : `dead letters: ${redriven} redriven, ${healed} healed, ${alreadyEqual} equal already, ${failedAgain} failed again`;
    logger[redriven + discarded > 0 ? 'info' : 'debug'](step, news);
  };
}
