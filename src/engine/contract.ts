/** What goes into the engine and what comes out. */
import type { RedisPort, ShardOutage } from '../redis/index.js';
import type { ReconcileError } from './errors.js';
import type { LinkMemory } from './link-memory.js';
import type { Scope } from './scope.js';

/** The two ends of a link. The source is the truth; only the target is ever written. */
export interface LinkSides {
  readonly source: RedisPort;
  readonly target: RedisPort;
  /**
   * To keep with the ports, so that what one call learns of the servers serves the next. Without it
   * each call begins anew.
   */
  readonly memory?: LinkMemory;
}

/** The two ends with what was learnt of them. */
export type Link = Required<LinkSides>;

/**
 * For a source that is a database: the target caches what its rows say, and may lack any key.
 * `invalidate`: a cached value that the row does not say is deleted; `refresh`: it is replaced.
 */
export type CacheMode = 'invalidate' | 'refresh';

/** When a delete may be believed; see `delete-guard.ts`. */
export interface DeleteGuard {
  /** The source is suspicious when it has fewer keys than this part of the target's… */
  readonly minimumRatio: number;
  /** …and at least this many keys fewer. */
  readonly minimumGap: number;
}

export interface ReconcileOptions {
  /**
   * A difference of expiry up to this many ms is none, between servers of one clock; see
   * `expiry-tolerance.ts`.
   */
  readonly expiryToleranceMs: number;
  readonly deleteGuard: DeleteGuard;
  /**
   * The target is a cache of the source. Then a key that it lacks is equal, a delete needs no guard
   * (readers load the value again), an expiry is the target's own, and keys are looked at as a
   * whole.
   */
  readonly cache?: CacheMode | undefined;
  /**
   * Ends the work before its next write, and the promise then rejects with the signal's reason; but
   * see `healing` in `rounds.ts`.
   */
  readonly signal?: AbortSignal | undefined;
  /**
   * Whoever asks comes again with all keys at once, when they are deferred; default: each key comes
   * by itself.
   */
  readonly comesAsOne?: boolean;
}

export interface KeyRequest {
  readonly key: Buffer;
  /**
   * The part to look at. Default: the whole key. Widened to it where the part alone can't make the
   * key equal.
   */
  readonly scope?: Scope;
  /**
   * A person has confirmed that the key may be deleted: the guard is not asked. Holds for the first
   * comparison alone, for behind a later one the source may have been emptied.
   */
  readonly allowDelete?: boolean;
}

/** A key as it is asked for among others, which go on when it alone is given up. */
export interface KeyTask extends KeyRequest {
  /**
   * Gives the key up before its next write. It is then `given-up`, but see `healing` in
   * `rounds.ts`.
   */
  readonly signal?: AbortSignal | undefined;
}

/** How it ended for a key that was given up before anything of it was written. */
export interface GivenUp {
  readonly outcome: 'given-up';
}

export interface Repaired {
  readonly outcome: 'repaired';
  /**
   * `restored`: the value (and expiry) was written; `members`: some members were; `expiry`: only
   * the expiry was.
   */
  readonly action: 'restored' | 'deleted' | 'members' | 'expiry';
  /** The type as TYPE says it: of what was written, or of what was deleted. */
  readonly type: string;
  /**
   * Size of what was written, without keys and names: of a whole value as dumped, or as commands. 0
   * where none was.
   */
  readonly bytes: number;
}

/** Not now; trying again makes sense in `retryAfterMs`. Not a failure. */
export interface KeyDeferred {
  readonly outcome: 'deferred';
  readonly retryAfterMs: number;
  /** The target's server does not answer; null: its budget is spoken for. */
  readonly outage: ShardOutage | null;
  /** What was written before the key changed once more; null: nothing was. */
  readonly repaired: Repaired | null;
}

/**
 * How it ended for one key. `equal`: nothing had to be written. `large`: it was not compared to its
 * end, because a value is too large for one call; `reconcileLargeKey` is for it. `repaired`: what
 * was written before it had become large.
 */
export type KeyResult =
  | { readonly outcome: 'equal' }
  | Repaired
  | { readonly outcome: 'large'; readonly repaired?: Repaired }
  | KeyDeferred
  /** `wrote`: the target was written before it failed, whatever the stage at which it did. */
  | { readonly outcome: 'failed'; readonly error: ReconcileError; readonly wrote?: boolean };
