/** What is to be done about one key, from what both sides said. Pure. */
import {
  type Change,
  type KeyState,
  NO_TYPE,
  type Reading,
  type RebuildChange,
  type RecipeReading,
} from '../redis/index.js';
import type { CacheMode } from './contract.js';
import { type ExpiryTolerance, tolerates } from './expiry-tolerance.js';

/** `equal`: nothing. Else the change that makes the target equal. */
type Decision = 'equal' | Change | RebuildChange;

/**
 * @param target the key on the target, observed before `source` was read: so what is written is
 *   never older than what was compared with
 * @param tolerance which difference of expiry is none
 * @param cache the target is a cache: see `ReconcileOptions`
 */
export function decide(
  target: KeyState,
  source: Reading | RecipeReading,
  tolerance: ExpiryTolerance,
  cache?: CacheMode,
): Decision {
  if (cache !== undefined) return decideCached(target, source, cache);
  if (source.type === NO_TYPE) return target.type === NO_TYPE ? 'equal' : { action: 'delete' };
  const { content, expiry } = source;
  const expiryTolerated = tolerates(tolerance, target.expiry, expiry);
  // Where the difference is not proven yet, the content digest goes along, and decides on the
  // target in the moment of the write.
  if ('recipe' in source && source.recipe !== null) {
    return { action: 'rebuild', recipe: source.recipe, content, expiry, expiryTolerated };
  }
  if ('dump' in source && source.dump !== null) {
    return { action: 'restore', dump: source.dump, content, expiry, expiryTolerated };
  }
  return expiryTolerated ? 'equal' : { action: 'expiry', expiry };
}

/** What is not cached can't be stale. */
function decideCached(target: KeyState, source: Reading | RecipeReading, cache: CacheMode): Decision {
  if (target.type === NO_TYPE) return 'equal';
  if (source.type === NO_TYPE) return { action: 'delete' };
  const { content, expiry } = source;
  if (!('recipe' in source) || source.recipe === null) return 'equal';
  if (cache === 'invalidate') return { action: 'delete', unless: content };
  return { action: 'rebuild', recipe: source.recipe, content, expiry, expiryTolerated: true };
}
