/**
 * What the engine asks of a Redis, whatever its topology. Adapters: one server (`standalone.ts`),
 * also one that Sentinels name, and a Cluster (`cluster.ts`).
 *
 * Common to all methods that take keys:
 * - They take up to 500 keys in one call and answer in their order, one answer per key.
 * - They never reject. A key that failed has a `RedisFailure` as its answer, and only that key;
 *   when a call fails as a whole, each of its keys has the same failure.
 * - They never queue: without a usable connection they fail soon. Nothing is sent again after a
 *   lost connection.
 */
import type { RedisFailure } from './connection/failure.js';
import type { KeyState } from './key-state.js';
import type { KeyWatch } from './key-watch.js';
import type { Keyspace } from './keyspace.js';
import type { Slots } from './slots.js';

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
}

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
   * How many elements (bytes of a string) the whole key has; -1 of large values and of unknown
   * types.
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
 * - `changed`: the key is no longer as observed, or the call came too late; nothing was done
 * - `equal`: its content is the wanted one already, its expiry close enough; nothing was done
 * - `restored`, `deleted`, `expiry`: done
 * - `incomparable`: restored; but this server dumps the value otherwise than it was written: it
 *   can't be seen whether it is the source's
 * - `expired`: the wanted expiry has passed on this server, so the key is gone (not: set)
 */
export type RepairOutcome = 'changed' | 'equal' | 'restored' | 'incomparable' | 'deleted' | 'expiry' | 'expired';

/** Role and size of one server, or of several together. */
export interface Health {
  /** All of them are. */
  readonly isMaster: boolean;
  /** Keys of the selected database. Counts expired keys that are not yet evicted. */
  readonly keys: number;
  /** Which slots these servers have; one that is no Cluster has all. */
  readonly slots: Slots;
  /** Each by itself; also those that do not answer, which the sums leave out. */
  readonly servers: readonly ServerHealth[];
}

export interface ServerHealth {
  readonly place: string;
  readonly slots: Slots;
  readonly answer: { readonly isMaster: boolean; readonly keys: number } | RedisFailure;
}

/** Which servers to ask: the one that has the key, or all that have any of the slots. */
export type HealthOf = { readonly key: Buffer } | { readonly slots: Slots };

export interface HealthOptions {
  /**
   * Count the keys of the application alone, about, by a sample: the marks of DualWriters
   * (`keymend:writer:*`) can be more than all other keys of a small database.
   */
  readonly withoutOwn?: boolean;
}

/** What a server's clock showed at one moment here. */
export interface ClockReading {
  /** ms since the epoch, with a fraction. */
  readonly serverTimeMs: number;
  /**
   * `performance.now()` in the middle of asking: at most `uncertaintyMs`, half the round trip, from
   * that moment.
   */
  readonly atMs: number;
  readonly uncertaintyMs: number;
}

/** A key to work on. `members`: how many members of it the round names; 0 for a whole key. */
export interface AdmissionRequest {
  readonly key: Buffer;
  readonly members: number;
}

/** Leave to work on some keys now. */
export interface Admission {
  readonly kind: 'admitted';
  /**
   * On how many of them, the first ones; at least 1. Ask again for the others when these are done.
   */
  readonly keys: number;
  /** The same Redis; what goes through this port is counted for this admission. */
  readonly port: RedisPort;
  /**
   * The work has ended, well or not. Call it exactly once.
   * @param besides operations that went past `port`, on a connection of their own
   * @returns how many operations it took; 0 where nobody counts
   */
  done(besides?: number): number;
}

/** A server that does not answer. */
export interface ShardOutage {
  /** Its address, or the name of its group. */
  readonly shard: string;
  /** ms since the epoch. */
  readonly since: number;
  /** What it met first, for a person. */
  readonly reason: string;
}

/** Not now; asking again makes sense in so many ms. */
export interface Deferred {
  readonly kind: 'deferred';
  readonly retryAfterMs: number;
  /** The server does not answer; null: the budget is spoken for. */
  readonly outage: ShardOutage | null;
}

export interface RedisPort extends Keyspace {
  /** What to call this Redis in a message: its name and address, never a password. */
  readonly place: string;

  /**
   * How often it has connected, or found slots at another server. Behind a new connection there may
   * be another server, or another version of it.
   */
  readonly connections: number;

  /**
   * Names for each key the server that has it, as far as is known. A call whose keys are all of one
   * server waits for no other.
   */
  shardsOf(keys: readonly Buffer[]): Promise<readonly string[]>;

  /**
   * Asks the budget for one round (inspect, repair) over some keys, and waits for it if it is near.
   * Without a budget all are admitted at once. Nobody is admitted to a server that is known not to
   * answer.
   * @param requests at least one, all keys of one shard: it is that shard's budget that pays
   * @param turns how many of those that are deferred come again, each by itself; default: all
   */
  admit(requests: readonly AdmissionRequest[], turns?: number): Promise<Admission | Deferred | RedisFailure>;

  /**
   * Whether these keys, whose failures look like it, had to fail because their server does not
   * answer at all. It is asked once more if that is not known; what was one slow command is no
   * outage.
   * @param keys, turns as for `admit`
   * @returns null: it answers, or nobody watches this Redis
   */
  outage(keys: readonly Buffer[], turns?: number): Promise<Deferred | null>;

  /**
   * Asks one of its servers whether it is there.
   * @param shard as in `ShardOutage`
   * @returns null when it answers, or there is no such server any more; else why keys wait for it
   */
  answers(shard: string): Promise<RedisFailure | null>;

  /**
   * Reads the state of each key. At the master alone if asked so (see `read`), and then with the
   * digest that `read` answers with a value. Idempotent.
   */
  inspect(
    keys: readonly Buffer[],
    options?: { readonly atMaster?: boolean },
  ): Promise<(ObservedState | RedisFailure)[]>;

  /**
   * Reads each key at its master; value and expiry belong to one moment. Idempotent. Keys that
   * would make the answer too large are `deferred`: ask again for them. The first never is. A key
   * read at a replica fails with the code `NOTMASTER`; the role is asked after the keys were read
   * (see `health`).
   */
  read(requests: readonly ReadRequest[]): Promise<(Reading | 'deferred' | RedisFailure)[]>;

  /**
   * Writes, each key fenced by its observed state. Executed twice, the second does nothing.
   * Executed late, it does nothing: the server refuses it once as long has passed since the
   * observation as a command may take.
   * After a failure with the code `TIMEOUT` or `CONNECTION` it is unknown whether it was done; with
   * any other code it was not.
   */
  repair(repairs: readonly Repair[]): Promise<(RepairOutcome | RedisFailure)[]>;

  /**
   * `read` in a form that servers of any version understand; larger and slower. A type that
   * commands can't build (a module's) fails with the code `NORECIPE`; one that no script can write
   * in one call with `TOOLONG`.
   */
  readRecipes(requests: readonly ReadRequest[]): Promise<(RecipeReading | 'deferred' | RedisFailure)[]>;

  /**
   * `repair` from a recipe. A server that knows no expiry of single fields fails for those with the
   * code `NOFIELDEXPIRY`.
   */
  rebuild(rebuilds: readonly Rebuild[]): Promise<(RepairOutcome | RedisFailure)[]>;

  /** `inspect` for some members of each key. */
  inspectMembers(requests: readonly MembersRequest[]): Promise<(MembersState | RedisFailure)[]>;

  /** `read` for some members of each key: at the master alone, and with what it defers. */
  readMembers(requests: readonly MembersRequest[]): Promise<(MembersReading | 'deferred' | RedisFailure)[]>;

  /**
   * `repair` for some members of each key, fenced by them, the type and the expiry; no more at once
   * than were observed at once. Field expiries: see `rebuild`.
   */
  repairMembers(repairs: readonly MembersRepair[]): Promise<(MembersOutcome | RedisFailure)[]>;

  /**
   * One page of a large value, by SCAN's rules: whoever goes on until the cursor is `0`, on the
   * same server, has met every member that was there all the time; some may come twice. Idempotent.
   * @returns null when the key is not of that type any more; `lost` when it has changed so much
   *   that this page can't be joined to the one before. Fails with the code `ONEPIECE` when the
   *   value lies in one piece which is too large to be read at once
   */
  scanMembers(scan: MembersScan): Promise<MembersPage | 'lost' | null | RedisFailure>;

  /**
   * Whether a hash, set or sorted set lies in one piece of memory, and is not small: to look up one
   * member, the server steps over the others. So it is better read once, and compared here.
   */
  isInOnePiece(key: Buffer): Promise<boolean | RedisFailure>;

  /**
   * Names the process that answers for a key, and the database there. After a restart or a
   * failover, which may have lost writes, it is another process.
   */
  server(key: Buffer): Promise<string | RedisFailure>;

  /**
   * The digests of the first members as a page has them: of one at least, of fewer than all where
   * they would take the server long at once. Idempotent.
   * @returns null when the key is not of that type any more
   */
  digestMembers(members: TypedMembers): Promise<Buffer | null | RedisFailure>;

  /**
   * Which of the first members, from a page of the other side, differ here or are not here.
   * Idempotent.
   * @param digests of all members, as a page has them
   */
  differingMembers(members: TypedMembers, digests: Buffer): Promise<DifferingMembers | RedisFailure>;

  /** How many members a hash, set or sorted set has; fields that have expired may be among them. */
  cardinality(key: Buffer, type: string): Promise<number | RedisFailure>;

  /**
   * Begins to watch a key on a connection of its own, for what is too large for one call. To be
   * closed by the caller.
   */
  watch(key: Buffer): Promise<KeyWatch | RedisFailure>;

  /**
   * Its keys as replicas have them: of each master that has one online, which is then as far as its
   * master was when `keyServers` was asked. A master without replica is read itself.
   */
  readonly replicas: Keyspace;

  /**
   * Role and size, of all servers when not said of which. Fails when none of them answers; one that
   * is loading with the code `LOADING`. To trust an absence that was read, ask after that read:
   * what made the keys vanish before it then shows.
   */
  health(of?: HealthOf, options?: HealthOptions): Promise<Health | RedisFailure>;

  /** The clock of the server that has the key. */
  clock(key: Buffer): Promise<ClockReading | RedisFailure>;

  /**
   * Connects and asks for a sign of life, for start-up.
   * @returns a failure for each server that gives none while others do. Each has one line: which
   *   Redis, what is wrong, what to do
   * @throws RedisFailure with such a line when none does
   */
  check(): Promise<readonly RedisFailure[]>;

  /** Closes the connections; what is still in flight fails. May be called twice. */
  close(): Promise<void>;
}
