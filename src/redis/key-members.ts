/** What is asked of a server about members of a key, and what it answers. */

/**
 * Some members of a key (fields of a hash, members of a set or sorted set); with none, only its
 * type and expiry.
 */
export interface MembersRequest {
  readonly key: Buffer;
  readonly members: readonly Buffer[];
}

/** Members at one moment, without their values. `serverTimeMs` as in `ObservedState`. */
export interface MembersState {
  /** As TYPE says it. */
  readonly type: string;
  readonly expiry: number;
  /**
   * How many elements the whole key has, of a string bytes; of a large one below 0. -1 of types
   * that are not known.
   */
  readonly count: number;
  /**
   * By member: `+` and a digest of its value or score, '' when it is not there. In front of the `+`
   * of a field that expires: when, in ms since the epoch. Of the first members alone where all cost
   * too much at once: ask again for the others.
   */
  readonly digests: readonly string[];
  readonly serverTimeMs: number;
}

/** Members at one moment. */
export interface MembersReading {
  readonly type: string;
  readonly expiry: number;
  /** As in `MembersState`. */
  readonly count: number;
  /**
   * By member: `+` and its value or score (nothing for a set); empty when it is not there. In front
   * of the `+` of a field that expires: when, in ms since the epoch. Of the first members alone, as
   * in `MembersState`.
   */
  readonly cells: readonly Buffer[];
  /** The server's clock when it looked, in ms since the epoch. */
  readonly serverTimeMs: number;
}

/** A write of members that applies only if they, the type and the expiry still are as observed. */
export interface MembersRepair extends MembersRequest {
  /** Of these members first; what it has of others does not matter. */
  readonly observed: MembersState;
  /** The observed one, or what the members make of a key that was not there. */
  readonly type: string;
  readonly cells: readonly Buffer[];
  /** null: the present one stays. */
  readonly expiry: number | null;
}

/** `changed`: nothing was done. `gone`: done, and with its last member the key went. */
export type MembersOutcome = 'changed' | 'repaired' | 'gone';

/** From where a large hash, set or sorted set is gone through. */
export interface MembersScan {
  readonly key: Buffer;
  /** As TYPE says it. */
  readonly type: string;
  /** `0` at the beginning. */
  readonly cursor: string;
  /**
   * About how many members at most: fewer where they are large. A value that lies in one piece (see
   * `isInOnePiece`) may come as a whole.
   */
  readonly count: number;
}

/** Some members of a key, with digests of their values. */
export interface MembersPage {
  /** Where the next page begins; `0`: this was the last. */
  readonly cursor: string;
  readonly members: readonly Buffer[];
  /**
   * 40 characters for each, for `differingMembers` of the other side. null: too many for one call,
   * `digestMembers` tells some at a time.
   */
  readonly digests: Buffer | null;
}

/** Some members of a key of that type. */
export interface TypedMembers extends MembersRequest {
  /** As TYPE says it. */
  readonly type: string;
}

/** What one call found out about the first so many members of those asked for. */
export interface DifferingMembers {
  readonly differing: readonly Buffer[];
  /** At least one; fewer than all where they would take the server long at once. */
  readonly compared: number;
}
