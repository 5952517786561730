/** What there is to say of a sweep at its end, and on the way. */

import type { EncodedKey } from '../../workflows/failed-write.js';
import type {
  SweepOptions,
  SweepOutcome,
  SweepState,
  SweepSummary,
  SweepTally,
} from '../../workflows/sweep-messages.js';
import { counted } from '../plural.js';
import { consistencyOf } from './ageing.js';
import { atMost } from './bound.js';
import { comparedIn, differencesIn, summed } from './tally.js';

/** What looking for a key on the source takes beside comparing one, about: it is not read. */
const LOOKED_FOR = 0.25;
const MOST_PREFIXES = 20;

/** From 0 to 100, of a sweep under way; about, for keys come and go. */
export function percentOf(
  { parts, targetKeys = 0, targetOnly }: SweepState,
  { sample = 1, keys }: SweepOptions,
): number {
  const workOf = (...sides: string[]) => {
    const ofSide = parts.filter(({ side }) => sides.includes(side));
    const all = ofSide.reduce((sum, part) => sum + part.keys * sample, 0);
    const passed = ofSide.reduce((sum, part) => {
      const whole = part.keys * sample;
      return sum + (part.done ? whole : Math.min(whole, part.passed));
    }, 0);
    return { all, passed, isBegun: ofSide.length > 0, isDone: ofSide.every(({ done }) => done) };
  };
  const first = workOf('keys', 'source', 'cache');
  if (!first.isBegun) return 0;
  const isAll = keys !== undefined || sample < 1 || parts.some(({ side }) => side === 'cache');
  if (isAll || targetOnly === 'counted') return share(first.passed, first.all);
  const second = workOf('target');
  if (second.isBegun && first.isDone && second.isDone) return 100;
  const all = first.all + LOOKED_FOR * (second.isBegun ? second.all : targetKeys);
  return share(first.passed + LOOKED_FOR * second.passed, all);
}

function share(passed: number, all: number): number {
  return all === 0 ? 100 : Math.min(100, (100 * passed) / all);
}

export function summary(state: SweepState, options: SweepOptions): SweepSummary {
  const { sample, keys } = options;
  const tally = summed(state.parts);
  const nothing = nothingMet(state, options);
  const { prefixes, found, ...counts } = tally;
  const { handedOver = 0, healed = 0, unhealed = 0, healedWhen = [] } = state.repairs ?? {};
  const compared = comparedIn(state.parts);
  const [differing, unknown] = [differencesIn(tally), tally.unsettled + tally.failed];
  const worst = Object.entries(prefixes).map(([prefix, counts]) => {
    return { prefix, keys: Object.values(counts).reduce((sum, count) => sum + count, 0), differing: counts };
  });
  return {
    outcome: outcomeOf(tally, { unhealed, isPart: sample !== undefined || nothing.length > 0 }),
    compared,
    ...counts,
    // Also that of parts which were begun anew, for their batches did it all the same.
    handedOver,
    listed: withHealed(counts.listed, state.repairs),
    reasons: [...tally.reasons, ...nothing],
    repaired: healed,
    unhealed,
    timeline: { found, healed: healedWhen },
    prefixes: worst.sort((one, other) => other.keys - one.keys).slice(0, MOST_PREFIXES),
    targetOnly: keys === undefined ? (state.targetOnly ?? 'skipped') : 'skipped',
    redone: state.redone,
    ...(state.readFrom && { readFrom: state.readFrom }),
    // What could not be compared may differ.
    ...(sample !== undefined && {
      atMost: atMost(differing + unknown, compared),
    }),
    ...(state.aged && { consistent: consistencyOf(state.aged, { found: differing, unknown, compared }) }),
  };
}

function withHealed(listed: SweepTally['listed'], repairs: SweepState['repairs']): SweepTally['listed'] {
  if (repairs === undefined) return listed;
  const name = ({ key, encoding }: EncodedKey) => `${encoding} ${key}`;
  const batches = new Map(repairs.healedBatches);
  const wentOn = new Map(repairs.wentOn.map((one) => [name(one), one.healedAtMs]));
  return listed.map((entry) => {
    const { batch } = entry;
    const atMs =
      batch === undefined ? undefined : wentOn.has(name(entry)) ? wentOn.get(name(entry)) : batches.get(batch);
    return atMs === undefined ? entry : { ...entry, repaired: true, healedAt: new Date(atMs).toISOString() };
  });
}

interface Rest {
  readonly unhealed: number;
  /** Of what was left out nothing is known. */
  readonly isPart: boolean;
}

function outcomeOf(tally: SweepTally, { unhealed, isPart }: Rest): SweepOutcome {
  if (differencesIn(tally) > tally.handedOver || unhealed > 0) return 'divergent';
  return tally.unsettled + tally.failed > 0 || isPart ? 'incomplete' : 'equal';
}

/**
 * Why nothing was compared although there are keys: most likely a typing error, and then "equal" of
 * no key would be taken for more than it is.
 */
function nothingMet({ parts }: SweepState, { match, type }: SweepOptions): string[] {
  const isMet = parts.some(({ compared, tally }) => compared + tally.unsettled + tally.failed > 0);
  if (isMet || parts.every(({ keys }) => keys === 0)) return [];
  const left = parts.reduce((sum, { untaken = 0 }) => sum + untaken, 0);
  if (left > 0) {
    const cached = `${counted(left, 'cached key')} that ${left === 1 ? 'was' : 'were'} met`;
    return [`nothing was compared: no mapping takes any of the ${cached}; check \`key\` of the mappings`];
  }
  if (match === undefined && type === undefined) return [];
  // Without the pattern, which may be a key: this is also in the log.
  const which = [match === undefined ? '' : ' matches the pattern', type === undefined ? '' : ` is of type ${type}`];
  const flags = [...(match === undefined ? [] : ['--match']), ...(type === undefined ? [] : ['--type'])];
  return [
    `nothing was compared: no key of either side${which.filter(Boolean).join(' and')}; check ${flags.join(' and ')}, or leave it out`,
  ];
}
