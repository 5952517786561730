/**
 * What the engine asks of a Redis, whatever its topology. Adapters, in `topologies/`: one server
 * (`standalone.ts`), also one that Sentinels name, and a Cluster (`cluster.ts`).
 *
 * Common to all methods that take keys:
 * - They take up to 500 keys in one call and answer in their order, one answer per key.
 * - They never reject. A key that failed has a `RedisFailure` as its answer, and only that key;
 *   when a call fails as a whole, each of its keys has the same failure.
 * - They never queue: without a usable connection they fail soon. Nothing is sent again after a
 *   lost connection.
 */
import type { RedisFailure } from './connection/failure.js';
import type { Health, HealthOf, HealthOptions } from './health.js';
import type {
  DifferingMembers,
  MembersOutcome,
  MembersPage,
  MembersReading,
  MembersRepair,
  MembersRequest,
  MembersScan,
  MembersState,
  TypedMembers,
} from './key-members.js';
import type { Cost, KeyWatch } from './key-watch.js';
import type { Keyspace } from './keyspace.js';
import type { RowVersion } from './row-versions.js';
import type {
  ObservedState,
  Reading,
  ReadRequest,
  Rebuild,
  RecipeReading,
  Repair,
  RepairOutcome,
} from './whole-key.js';

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
   * @param besides what went past `port`, on a connection of its own
   * @returns how many operations it took; 0 where nobody counts
   */
  done(besides?: Cost): number;
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

  /**
   * Tells a cache which version the row of each key has, so that `keymend/cache` fills in nothing
   * older. Idempotent.
   * @returns `behind` where it knows of a higher one
   */
  rememberVersions(versions: readonly RowVersion[]): Promise<('remembered' | 'behind' | RedisFailure)[]>;

  /** `inspect` for some members of each key. */
  inspectMembers(
    requests: readonly MembersRequest[],
    options?: { readonly atMaster?: boolean },
  ): Promise<(MembersState | RedisFailure)[]>;

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
