/** What is known of keys that were gone through, of one page or of several in their order. */
import type { SweepPart } from '../../workflows/sweep-messages.js';
import type { KeyPage } from '../redis/index.js';

export type Passed = Pick<SweepPart, 'cursor' | 'done' | 'passed' | 'own' | 'untaken' | 'compared' | 'soonestExpiry'>;

/** As one: who goes on by it begins behind the later page. */
export function followedBy(pages: Passed, next: Passed): Passed {
  return {
    cursor: next.cursor,
    done: next.done,
    passed: pages.passed + next.passed,
    own: pages.own + next.own,
    untaken: (pages.untaken ?? 0) + (next.untaken ?? 0),
    compared: pages.compared + next.compared,
    soonestExpiry: sooner(pages.soonestExpiry, next.soonestExpiry),
  };
}

/**
 * @returns when the first of its keys, or of their fields, expires; 0: that is not known of all;
 *   null: none does
 */
export function soonestExpiryOf({ keys, digest }: Pick<KeyPage, 'keys' | 'digest'>): number | null {
  if (keys.length === 0) return null;
  if (digest === null || digest.count < keys.length) return 0;
  return (digest.expiries ?? []).filter((expiry) => expiry >= 0).reduce<number | null>(sooner, digest.fieldExpiry);
}

function sooner(one: number | null, other: number | null): number | null {
  return one === null || other === null ? (one ?? other) : Math.min(one, other);
}
