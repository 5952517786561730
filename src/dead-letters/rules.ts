/** The rules of the configuration as redrives that are begun again and again. */
import type { LetterMatch, RedriveInput } from '../../workflows/redrive-messages.js';
import type { LetterRule } from '../config.js';

/** What one rule begins, and how often. */
interface ScheduledRule {
  /** From 1: its place in the configuration. */
  readonly number: number;
  readonly everyMs: number;
  readonly input: RedriveInput;
}

/** A rule that keeps letters begins nothing: it keeps them from those behind it. */
export function scheduled(rules: readonly LetterRule[]): ScheduledRule[] {
  return rules.flatMap(({ match, do: action, after }, index) => {
    if (action === 'keep') return [];
    const earlier = rules.slice(0, index).map((rule) => matchOf(rule));
    const { olderThanMs = 0, ...alike } = matchOf({ match });
    const filter = { ...alike, olderThanMs: Math.max(olderThanMs, after), unless: earlier };
    const number = index + 1;
    // It comes again by itself, and must not stand in the way of what can be tried.
    return [
      { number, everyMs: after, input: { action, filter, by: `rule ${number} of dlq.rules`, leavesWaiting: true } },
    ];
  });
}

function matchOf({ match: { olderThan, ...alike } }: Pick<LetterRule, 'match'>): LetterMatch {
  return { ...alike, ...(olderThan !== undefined && { olderThanMs: olderThan }) };
}
