/**
 * What the engine asks of one large key that it looks at in many steps. All of a watch happens on
 * one connection, which is never made anew: once it is lost, every method fails, and nothing is
 * written.
 *
 * Common to all methods: they never reject, unless they say so, but answer with a `RedisFailure`.
 * No call takes a server long: ranges are bounded here by number and in the scripts by bytes. Calls
 * may be made without waiting for earlier ones; the server executes them in their order.
 */
import type { RedisFailure } from './connection/failure.js';
import type { KeyState } from './key-state.js';

/** What work has cost a server. */
export interface Cost {
  /** In the unit of the budget. */
  readonly operations: number;
  /** To the server and from it, about. */
  readonly bytes: number;
}

/** A key when its watch began, in as far as it takes no time to say. */
export interface WatchedState extends Pick<KeyState, 'type' | 'expiry'> {
  /**
   * Bytes of a string, elements of a list, entries of a stream; 0 for other types and without key.
   */
  readonly size: number;
}

/** Some bytes of a string, or some elements of a list, by the index of the first. */
export interface Range {
  readonly start: number;
  readonly count: number;
}

/**
 * Entries of a stream: behind the ID `after` (`0-0`: from the first on), up to `through` (`+`: the
 * last).
 */
export interface EntryRange {
  readonly after: string;
  readonly through: string;
}

/**
 * `count`: how many of those asked for. A range ends early where there are no more, and when it
 * gets large; it has at least one.
 */
export interface RangeDigest {
  readonly count: number;
  readonly bytes: number;
  readonly digest: string;
}

export interface StreamRangeDigest extends RangeDigest {
  /** ID of the last entry that was digested. */
  readonly last: string;
  /** Whether `copyEntries` can take it: no entry is too long for a script. */
  readonly isCopyable: boolean;
}

export interface StreamEntry {
  readonly id: string;
  /** Fields and values in turn. */
  readonly fields: readonly Buffer[];
}

export interface StreamGroup {
  readonly name: Buffer;
  readonly lastDeliveredId: string;
  /** null: not known there. */
  readonly entriesRead: string | null;
  readonly consumers: readonly Buffer[];
}

/** A stream without its entries and without what is pending. */
export interface StreamState {
  readonly lastGeneratedId: string;
  /** null: it has no entry. */
  readonly firstId: string | null;
  /**
   * Ever added, and the greatest ID ever deleted. null: a server before Redis 7 does not keep them.
   */
  readonly history: { readonly entriesAdded: string; readonly maxDeletedId: string } | null;
  readonly groups: readonly StreamGroup[];
}

export interface PendingEntry {
  readonly id: string;
  readonly consumer: Buffer;
  /** ms since the epoch. */
  readonly deliveredAt: number;
  /** Digits: up to 64 bits. */
  readonly timesDelivered: string;
  /** Whether the stream still has the entry. */
  readonly exists: boolean;
}

export interface PendingDigest {
  /** 0: nothing is pending behind the ID asked for. */
  readonly count: number;
  readonly digest: string;
  readonly last: string;
}

/** A write of the watched key. `expiry`: in ms since the epoch, or `NO_EXPIRY`. */
export type WatchedChange =
  | { readonly action: 'replace'; readonly temporary: TemporaryKey; readonly expiry: number }
  | { readonly action: 'delete' }
  | { readonly action: 'expiry'; readonly expiry: number };

/**
 * - `changed`: the key has been written since the watch began, or the call came too late, or the
 *   temporary key has gone; nothing was done
 * - `replaced`, `deleted`, `expiry`: done
 * - `expired`: the wanted expiry has passed on this server, so the key is gone (not: set)
 */
export type WatchedOutcome = 'changed' | 'replaced' | 'deleted' | 'expiry' | 'expired';

/**
 * Reads of the watched key. That they belong to one moment is known only once `unchanged` has said
 * so.
 */
export interface KeyWatch {
  /** Which process answers, and the database there; as `RedisPort.server` names them. */
  readonly server: string;
  /** The server's clock when the watch began, in ms since the epoch. */
  readonly serverTimeMs: number;
  /** What it and its temporary keys have cost the server so far. */
  readonly cost: Cost;
  readonly state: WatchedState;

  digestString(range: Range): Promise<RangeDigest | RedisFailure>;
  readString(range: Range): Promise<Buffer | RedisFailure>;

  digestList(range: Range): Promise<RangeDigest | RedisFailure>;
  readList(range: Range): Promise<Buffer[] | RedisFailure>;

  digestStream(range: EntryRange & { count: number }): Promise<StreamRangeDigest | RedisFailure>;
  readStream(range: EntryRange): Promise<StreamEntry[] | RedisFailure>;
  readStreamState(): Promise<StreamState | RedisFailure>;

  /** A page of what is pending in a group: entries, consumers, times delivered. Not: when. */
  digestPending(group: Buffer, after: string): Promise<PendingDigest | RedisFailure>;
  readPending(group: Buffer, after: string): Promise<PendingEntry[] | RedisFailure>;

  /**
   * Whether nobody has written the key since the watch began, so that all that was read until now
   * belongs to one moment. Ends the watch: to be called once, and not with `write`. Of streams with
   * thousands of pending entries, a change of who has one or how often it was delivered may go
   * unnoticed.
   * @param options.atMaster a replica fails with the code `NOTMASTER`
   */
  unchanged(options?: { atMaster?: boolean }): Promise<boolean | RedisFailure>;

  /**
   * A new key beside the watched one, in the same slot of a cluster. Nothing is created before it
   * is first written.
   */
  temporaryKey(): TemporaryKey;

  /**
   * From now on `write` has as long as a command may take: to be called before the last look at the
   * other side. Where it was not called, `write` begins with it.
   */
  boundWrite(): Promise<'bounded' | RedisFailure>;

  /**
   * Writes, unless anybody else has since the watch began, or its time has passed. Ends the watch.
   * After a failure with the code `TIMEOUT` or `CONNECTION` it is unknown whether it was
   * done; with any other code it was not.
   */
  write(change: WatchedChange): Promise<WatchedOutcome | RedisFailure>;

  /** Closes the connection; what is still in flight fails. May be called twice. */
  close(): void;
}

/**
 * `lost`: the temporary key is not as the steps before have left it: it expired or was evicted.
 * Nothing was done.
 */
export type GrowthOutcome = 'grown' | 'lost';

/**
 * A value that is built in steps until it takes the place of the watched key. Left alone, it
 * expires ten minutes after the last step. What its methods build is a string, a list or a stream;
 * members are put into it by its name.
 */
export interface TemporaryKey {
  readonly name: Buffer;

  /**
   * Writes a string in one command whose value is sent as its pieces come: a server gathers a large
   * argument over many turns of its loop, whereas a string that grows by APPEND is copied again and
   * again. On a connection of its own.
   * @param bytes how many the pieces have together
   * @throws what `pieces` threw; then nothing was written
   */
  writeString(bytes: number, pieces: AsyncIterable<Buffer>): Promise<GrowthOutcome | RedisFailure>;

  /** Any value, as a server of a version that this one understands has dumped it. */
  restore(dump: Buffer): Promise<'grown' | RedisFailure>;

  /**
   * @param size elements before this step. Also for the next methods: `elements` or entries that
   *   were added so far
   */
  appendElements(size: number, elements: readonly Buffer[]): Promise<GrowthOutcome | RedisFailure>;
  /** Appends elements of the watched key. */
  copyElements(size: number, range: Range): Promise<GrowthOutcome | RedisFailure>;

  /** The first step of a stream, which may stay without entries. */
  createStream(): Promise<GrowthOutcome | RedisFailure>;
  appendEntries(size: number, entries: readonly StreamEntry[]): Promise<GrowthOutcome | RedisFailure>;
  /** Appends entries of the watched key: a range that is copyable. */
  copyEntries(size: number, range: EntryRange): Promise<GrowthOutcome | RedisFailure>;
  deleteEntries(size: number, ids: readonly string[]): Promise<GrowthOutcome | RedisFailure>;
  /** Takes `count` entries away from the front. Redis notes a delete, but not this. */
  trimEntries(size: number, count: number): Promise<GrowthOutcome | RedisFailure>;
  addGroup(size: number, group: StreamGroup): Promise<GrowthOutcome | RedisFailure>;
  /** The entries must be there: servers since Redis 7 drop others. */
  addPending(size: number, group: Buffer, entries: readonly PendingEntry[]): Promise<GrowthOutcome | RedisFailure>;
  setStreamState(size: number, state: StreamState): Promise<GrowthOutcome | RedisFailure>;

  /** Removes it. Never fails: what can't be removed expires. */
  discard(): Promise<void>;
}
