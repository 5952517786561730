/** What is asked of a server about whole keys, and what it answers. */
import type { KeyState } from './key-state.js';

/** A state together with what is needed to bound for how long it may be acted upon. */
export interface ObservedState extends KeyState {
  /** The server's clock when it looked, in ms since the epoch. */
  readonly serverTimeMs: number;
}

/** What `read` is told of the other side, so that an equal value need not travel. */
export interface ReadRequest {
  readonly key: Buffer;
  readonly known: Pick<KeyState, 'type' | 'digest'> & Partial<Pick<ObservedState, 'expiry' | 'serverTimeMs'>>;
}

/** A key at one moment, with its value when that differs from the known one. */
export interface Reading extends KeyState {
  /** The server's clock when it looked, in ms since the epoch. */
  readonly serverTimeMs: number;
  /** When the first of the fields expires, in ms since the epoch; `NO_EXPIRY`: none, or no dump. */
  readonly soonestFieldExpiry: number;
  /** The key's DUMP; null when its digest is the known one, and without key. */
  readonly dump: Buffer | null;
  /**
   * A digest of the content that does not depend on encoding, order or version. Only given where it
   * can decide something: the types agree, the digests differ, and it is not of an unknown type; a
   * word in its place where the digests prove a difference already. Else null.
   */
  readonly content: string | null;
}

/**
 * A `Reading` whose value is told as the commands that build it, for `rebuild` alone; null where
 * `dump` would be.
 */
export interface RecipeReading extends Omit<Reading, 'dump'> {
  readonly recipe: Buffer | null;
  /** Of the row, where the source is a database and the mapping of the key names its column. */
  readonly version?: string | undefined;
}

/** A write that applies only if the key still is as observed. */
export interface Repair {
  readonly key: Buffer;
  readonly observed: ObservedState;
  readonly change: Change;
}

/** The same by commands, where the target can't read the source's DUMP. */
export interface Rebuild {
  readonly key: Buffer;
  readonly observed: ObservedState;
  readonly change: RebuildChange;
}

export type Change =
  | {
      readonly action: 'restore';
      readonly dump: Buffer;
      /** As in `Reading`: if the key's content has this digest already, its value is left alone. */
      readonly content: string | null;
      readonly expiry: number;
      /**
       * The observed expiry is close enough to `expiry`: then equal content needs no write at all.
       */
      readonly expiryTolerated: boolean;
    }
  /** `unless`: if the key's content has this digest, it stays. */
  | { readonly action: 'delete'; readonly unless?: string | null }
  | { readonly action: 'expiry'; readonly expiry: number };

/** As the change 'restore', with a recipe in the place of a DUMP. */
export interface RebuildChange {
  readonly action: 'rebuild';
  readonly recipe: Buffer;
  readonly content: string | null;
  readonly expiry: number;
  readonly expiryTolerated: boolean;
}

/**
 * - `changed`: the key is no longer as observed; nothing was done
 * - `equal`: its content is the wanted one already, its expiry close enough; nothing was done
 * - `restored`, `deleted`, `expiry`: done
 * - `incomparable`: restored; but this server dumps the value otherwise than it was written: it
 *   can't be seen whether it is the source's
 * - `expired`: the wanted expiry has passed on this server, so the key is gone (not: set)
 */
export type RepairOutcome = 'changed' | 'equal' | 'restored' | 'incomparable' | 'deleted' | 'expiry' | 'expired';
