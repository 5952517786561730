/** How far a sweep is, for a person. */
import type { SweepProgress } from '../../../workflows/sweep-messages.js';
import { counted } from '../../plural.js';
import { differencesIn } from '../../sweep/tally.js';

/** In one line: how far it is, what it has found, how long it may take. */
export function describeProgress(now: Omit<SweepProgress, 'link' | 'options' | 'startedAt'>): string {
  const { state, percent, compared, handedOver = 0, repaired, etaSeconds, problem } = now;
  const differing = differencesIn(now);
  return [
    state === 'paused' ? 'paused' : bar(percent),
    `${percent.toFixed(1)} %`,
    `${counted(compared, 'key')} compared`,
    `${differing} ${differing === 1 ? 'differs' : 'differ'}`,
    ...(handedOver > 0 ? [`${repaired} of ${handedOver} repaired`] : []),
    ...(etaSeconds === null || state !== 'comparing' ? [] : [`about ${etaSeconds} s left`]),
    ...(problem == null ? [] : [`tries again: ${problem}`]),
  ].join(', ');
}

const BAR_WIDTH = 20;

function bar(percent: number): string {
  const done = Math.round((percent / 100) * BAR_WIDTH);
  return `[${'#'.repeat(done)}${'.'.repeat(BAR_WIDTH - done)}]`;
}
