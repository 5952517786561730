/** The rules of the configuration as redrives that are begun again and again. */
import { createHash } from 'node:crypto';
import type { LetterMatch, RedriveInput } from '../../workflows/redrive-messages.js';
import type { LetterRule } from '../config.js';

/** What one rule begins, and how often. */
interface ScheduledRule {
  /** By what it does with which letters, wherever it stands: a person may have paused it. */
  readonly name: string;
  readonly everyMs: number;
  readonly input: RedriveInput;
}

/**
 * A rule that keeps letters begins nothing: it keeps them from those behind it. Of two that do the
 * same with the same letters the first counts.
 */
export function scheduled(rules: readonly LetterRule[]): ScheduledRule[] {
  const all = rules.flatMap(({ match, do: action, after }, index) => {
    if (action === 'keep') return [];
    const earlier = rules.slice(0, index).map((rule) => matchOf(rule));
    const { olderThanMs = 0, ...alike } = matchOf({ match });
    const filter = { ...alike, olderThanMs: Math.max(olderThanMs, after), unless: earlier };
    const number = index + 1;
    // It comes again by itself, and must not stand in the way of what can be tried.
    const input = { action, filter, by: `rule ${number} of dlq.rules`, leavesWaiting: true };
    return [{ name: nameOf({ match, do: action }), everyMs: after, input }];
  });
  return all.filter(({ name }, index) => all.findIndex((one) => one.name === name) === index);
}

/** Whether a name is of a rule, also one that earlier versions gave: its number. */
export function isRuleName(name: string): boolean {
  return /^(?:\d+|(?:redrive|discard)-[0-9a-f]{8})$/.test(name);
}

function nameOf({ match, do: action }: Pick<LetterRule, 'match' | 'do'>): string {
  const parts = JSON.stringify(Object.entries(match).toSorted(([one], [other]) => (one < other ? -1 : 1)));
  return `${action}-${createHash('sha256').update(parts).digest('hex').slice(0, 8)}`;
}

function matchOf({ match: { olderThan, ...alike } }: Pick<LetterRule, 'match'>): LetterMatch {
  return { ...alike, ...(olderThan !== undefined && { olderThanMs: olderThan }) };
}
