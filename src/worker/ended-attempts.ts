/**
 * What is told of an attempt at a key when it has ended: the place for whatever counts or measures
 * repairs.
 */
import type { Logger } from 'pino';
import type { create } from '../../activities/index.js';

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
