/** What there is to say of a sweep at its end, and on the way. */
import type {
  SweepOptions,
  SweepOutcome,
  SweepState,
  SweepSummary,
  SweepTally,
} from '../../workflows/sweep-messages.js';
import { atMost } from './bound.js';
import { comparedIn, summed } from './tally.js';

/** What looking for keys of the target alone takes of the whole, about: its keys are not read. */
const TARGET_SHARE = 20;
const MOST_PREFIXES = 20;

/** From 0 to 100, of a sweep under way; about, for keys come and go. */
export function percentOf({ parts }: SweepState, { sample = 1, keys }: SweepOptions): number {
  const partOf = (...sides: string[]) => {
    const ofSide = parts.filter(({ side }) => sides.includes(side));
    const all = ofSide.reduce((sum, part) => sum + part.keys * sample, 0);
    const passed = ofSide.reduce((sum, part) => sum + (part.done ? part.keys * sample : part.passed), 0);
    return ofSide.length === 0 ? 0 : all === 0 ? 1 : Math.min(1, passed / all);
  };
  if (keys !== undefined || sample < 1) return 100 * partOf('keys', 'source');
  return (100 - TARGET_SHARE) * partOf('source') + TARGET_SHARE * partOf('target');
}

export function summary(state: SweepState, { sample, keys }: SweepOptions): SweepSummary {
  const tally = summed(state.parts);
  const { prefixes, ...found } = tally;
  const compared = comparedIn(state.parts);
  const worst = Object.entries(prefixes).map(([prefix, count]) => ({ prefix, keys: count }));
  return {
    outcome: outcomeOf(tally, sample),
    compared,
    ...found,
    prefixes: worst.sort((one, other) => other.keys - one.keys).slice(0, MOST_PREFIXES),
    targetOnly: keys === undefined ? (state.targetOnly ?? 'skipped') : 'skipped',
    redone: state.redone,
    ...(sample !== undefined && { atMost: atMost(differences(tally), compared) }),
  };
}

function differences({ differing }: SweepTally): number {
  return Object.values(differing).reduce((sum, count) => sum + count, 0);
}

/** Of what a sample has left out nothing is known. */
function outcomeOf(tally: SweepTally, sample: number | undefined): SweepOutcome {
  if (differences(tally) > tally.repaired) return 'divergent';
  return tally.unsettled + tally.failed > 0 || sample !== undefined ? 'incomplete' : 'equal';
}
