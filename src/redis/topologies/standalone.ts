/**
 * The port on one server: each method is one script, or one pair of commands. It is as long as the
 * port has methods; what their rows look like is in `rows.ts` and `member-cells.ts`.
 */
import { CACHE_LAG_MS } from '../../defaults.js';
import { isOwnKey } from '../../own-keys.js';
import { askedSoon, type Breaker, type Breakers } from '../breaker.js';
import { admit } from '../budget/admission.js';
import type { Budget } from '../budget/budget.js';
import { type Command, type Connection, isMaster } from '../connection/connection.js';
import { explained } from '../connection/explain.js';
import { RedisFailure } from '../connection/failure.js';
import type { Health, HealthOf, HealthOptions } from '../health.js';
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
} from '../key-members.js';
import { expiryDigits } from '../key-state.js';
import type { KeyWatch } from '../key-watch.js';
import {
  absentKeys,
  digestKeys,
  type KeyPage,
  type KeyScan,
  type KeyServer,
  type PageDigest,
  scanPage,
} from '../keyspace.js';
import { pieceIn, readPiece } from '../piece.js';
import type { Admission, AdmissionRequest, ClockReading, Deferred, RedisPort } from '../port.js';
import { besideKey, type RowVersion } from '../row-versions.js';
import {
  changeCells,
  digestBytes,
  isComparedHere,
  membersRow,
  membersState,
  observedState,
  outcome,
  reading,
  readRow,
} from '../rows.js';
import { costOf } from '../scripts/operations.js';
import { packed, unpacked } from '../scripts/packed.js';
import { type Row, type Script, scripts } from '../scripts/script.js';
import { type CountCost, type RowAnswer, type RunOptions, runScript } from '../scripts/script-runner.js';
import { ALL_SLOTS, slotOf, tagIn } from '../slots.js';
import { watchKey } from '../watch.js';
import type {
  ObservedState,
  Reading,
  ReadRequest,
  Rebuild,
  RecipeReading,
  Repair,
  RepairOutcome,
} from '../whole-key.js';
import { markOf } from '../writer-mark.js';
import { type Masters, Replicas } from './replicas.js';
import { serverName } from './server-name.js';

/** The server of each state that was observed, as `Connection.server`. */
const observedAt = new WeakMap<object, object>();

export class StandaloneRedis implements RedisPort, Masters {
  readonly #connection: Connection;
  readonly #budget: Budget | undefined;
  readonly #breakers: Breakers | undefined;
  readonly #count: CountCost | undefined;
  #replicas: Replicas | undefined;

  /**
   * @param options `count` is told of all that goes through this port, except for what asking the
   *   budget costs; `breakers`: keys wait for a server that does not answer
   */
  constructor(
    connection: Connection,
    options: { readonly budget?: Budget; readonly breakers?: Breakers; readonly count?: CountCost } = {},
  ) {
    this.#connection = connection;
    this.#budget = options.budget;
    this.#breakers = options.breakers;
    this.#count = options.count;
  }

  get replicas(): Replicas {
    this.#replicas ??= new Replicas(this);
    return this.#replicas;
  }

  get place(): string {
    return this.#connection.place;
  }

  get connections(): number {
    return this.#connection.connections;
  }

  async shardsOf(keys: readonly Buffer[]): Promise<readonly string[]> {
    return keys.map(() => this.place);
  }

  async admit(requests: readonly AdmissionRequest[], turns?: number): Promise<Admission | Deferred | RedisFailure> {
    const waits = this.#breaker?.waits(
      requests.map(({ key }) => key),
      turns,
    );
    if (waits) return waits;
    const budget = this.#budget;
    if (budget === undefined) return { kind: 'admitted', keys: requests.length, port: this, done: () => 0 };
    return admit(budget, requests, (count) => new StandaloneRedis(this.#connection, { budget, count }));
  }

  async outage(keys: readonly Buffer[], turns?: number): Promise<Deferred | null> {
    return this.#breaker?.suspect(keys, turns) ?? null;
  }

  get #breaker(): Breaker | undefined {
    return this.#breakers?.of(this.#connection.shard, () => this.answers());
  }

  answers(): Promise<RedisFailure | null> {
    return askedSoon(this.#connection.send([['PING']]));
  }

  async inspect(keys: readonly Buffer[], { atMaster = false } = {}): Promise<(ObservedState | RedisFailure)[]> {
    const rows = keys.map((key): Row => [key]);
    return this.#observe(scripts.inspect, rows, observedState, { atMaster });
  }

  async read(requests: readonly ReadRequest[]): Promise<(Reading | 'deferred' | RedisFailure)[]> {
    const readings = await this.#readings(requests, isComparedHere);
    const undecided: number[] = [];
    for (const [index, request] of requests.entries()) {
      const read = readings[index]!;
      if (read === 'deferred' || read instanceof RedisFailure) continue;
      if (read.dump !== null && read.content === null && isComparedHere(request)) undecided.push(index);
    }
    if (undecided.length === 0) return readings;
    const again = await this.#readings(undecided.map((index) => requests[index]!));
    for (const [position, index] of undecided.entries()) readings[index] = again[position]!;
    return readings;
  }

  /** @param comparesHere whether the script need not compare a request's two values */
  async #readings(
    requests: readonly ReadRequest[],
    comparesHere: (request: ReadRequest) => boolean = () => false,
  ): Promise<(Reading | 'deferred' | RedisFailure)[]> {
    const rows = requests.map((request) => readRow(request, comparesHere(request)));
    const answers = await this.#run(scripts.read, rows, { atMaster: true });
    return answers.map((answer, index) => {
      if (answer === 'deferred' || answer instanceof RedisFailure) return answer;
      const request = requests[index]!;
      return reading(answer, rows[index]!, comparesHere(request) ? digestBytes(request.known) : null);
    });
  }

  async repair(repairs: readonly Repair[]): Promise<(RepairOutcome | RedisFailure)[]> {
    return this.#fenced(scripts.repair, repairs, ({ key, observed, change }) => [
      key,
      ...this.#fence(observed),
      ...changeCells(change),
      markOf(key),
    ]);
  }

  async readRecipes(requests: readonly ReadRequest[]): Promise<(RecipeReading | 'deferred' | RedisFailure)[]> {
    const rows = requests.map((request) => readRow(request));
    const answers = await this.#run(scripts.readRecipe, rows, { atMaster: true });
    return answers.map((answer, index) => {
      if (answer === 'deferred' || answer instanceof RedisFailure) return answer;
      const { dump: recipe, ...state } = reading(answer, rows[index]!, null);
      return { ...state, recipe };
    });
  }

  async rebuild(rebuilds: readonly Rebuild[]): Promise<(RepairOutcome | RedisFailure)[]> {
    return this.#fenced(scripts.rebuild, rebuilds, ({ key, observed, change }) => [
      key,
      ...this.#fence(observed),
      expiryDigits(change.expiry),
      change.expiryTolerated ? '1' : '0',
      change.content ?? '',
      change.recipe,
      // In the slot of the key, in case that this is a node of a Cluster.
      `keymend:rebuild:{${tagIn(slotOf(key))}}`,
      markOf(key),
    ]);
  }

  async rememberVersions(versions: readonly RowVersion[]): Promise<('remembered' | 'behind' | RedisFailure)[]> {
    const rows = versions.map(({ key, version }): Row => [besideKey('version', key), version, `${CACHE_LAG_MS}`]);
    const answers = await this.#runToTheEnd(scripts.rememberVersion, rows);
    return answers.map((answer) =>
      answer instanceof RedisFailure ? answer : (String(answer.cells[0]) as 'remembered' | 'behind'),
    );
  }

  async inspectMembers(
    requests: readonly MembersRequest[],
    { atMaster = false } = {},
  ): Promise<(MembersState | RedisFailure)[]> {
    return this.#observe(scripts.inspectMembers, requests.map(membersRow), membersState, { atMaster });
  }

  async readMembers(requests: readonly MembersRequest[]): Promise<(MembersReading | 'deferred' | RedisFailure)[]> {
    const answers = await this.#run(scripts.readMembers, requests.map(membersRow), { atMaster: true });
    return answers.map((answer) => {
      if (answer === 'deferred' || answer instanceof RedisFailure) return answer;
      const [type, expiry, count, ...cells] = answer.cells;
      const { serverTimeMs } = answer;
      const state = { type: String(type), expiry: Number(expiry), count: Number(count), serverTimeMs };
      return { ...state, cells: cells as Buffer[] };
    });
  }

  async repairMembers(repairs: readonly MembersRepair[]): Promise<(MembersOutcome | RedisFailure)[]> {
    return this.#fenced(scripts.repairMembers, repairs, ({ key, members, observed, type, cells, expiry }) => [
      key,
      observed.type,
      `${observed.expiry}`,
      this.#deadline(observed),
      expiry === null ? '' : expiryDigits(expiry),
      type,
      packed(members),
      packed(observed.digests.slice(0, members.length)),
      packed(cells),
      markOf(key),
    ]);
  }

  async scanMembers({ key, type, cursor, count }: MembersScan): Promise<MembersPage | 'lost' | null | RedisFailure> {
    const answer = await this.#runForKey(scripts.scanMembers, [key, type, cursor, `${count}`]);
    if (answer instanceof RedisFailure) return answer;
    const [next, members, digests] = answer.cells as readonly Buffer[];
    switch (String(next)) {
      case '':
        return null;
      case 'lost':
        return 'lost';
      case 'piece':
        return readPiece(async (...command) => (await this.#send(command))[0], key, type, pieceIn(answer.cells));
      default:
        return { cursor: String(next), members: unpacked(members!), digests: digests!.length > 0 ? digests! : null };
    }
  }

  async isInOnePiece(key: Buffer): Promise<boolean | RedisFailure> {
    const answer = await this.#runForKey(scripts.piece, [key]);
    return answer instanceof RedisFailure ? answer : Number(answer.cells[0]) > 0;
  }

  async server(): Promise<string | RedisFailure> {
    const [info, replication] = await this.#send(['INFO', 'server'], ['INFO', 'replication']);
    return serverName(info, replication, this.#connection.database);
  }

  async digestMembers({ key, type, members }: TypedMembers): Promise<Buffer | null | RedisFailure> {
    const answer = await this.#runForKey(scripts.digestMembers, [key, type, packed(members)]);
    if (answer instanceof RedisFailure) return answer;
    const [digests, count] = answer.cells;
    return Number(count) === 0 ? null : (digests as Buffer);
  }

  async differingMembers(
    { key, type, members }: TypedMembers,
    digests: Buffer,
  ): Promise<DifferingMembers | RedisFailure> {
    const answer = await this.#runForKey(scripts.differingMembers, [key, type, packed(members), digests]);
    if (answer instanceof RedisFailure) return answer;
    const [differing, compared] = answer.cells;
    return { differing: unpacked(differing as Buffer), compared: Number(compared) };
  }

  async cardinality(key: Buffer, type: string): Promise<number | RedisFailure> {
    const [count] = await this.#send([CARDINALITY[type]!, key]);
    return count instanceof RedisFailure ? count : Number(count);
  }

  watch(key: Buffer): Promise<KeyWatch | RedisFailure> {
    return watchKey(() => this.#connection.another(), key);
  }

  async keyServers(): Promise<readonly [KeyServer] | RedisFailure> {
    const [info, replication, keys] = await this.#send(['INFO', 'server'], ['INFO', 'replication'], ['DBSIZE']);
    if (keys instanceof RedisFailure) return keys;
    const server = serverName(info, replication, this.#connection.database);
    if (server instanceof RedisFailure) return server;
    return [{ place: this.place, server, keys: Number(keys), slots: ALL_SLOTS, moving: [] }];
  }

  async masterAt(): Promise<Connection> {
    return this.#connection;
  }

  scanKeys(_place: string, scan: KeyScan): Promise<KeyPage | RedisFailure> {
    return scanPage(this.#connection, scan);
  }

  digestKeys(keys: readonly Buffer[]): Promise<PageDigest | RedisFailure> {
    return digestKeys(this.#connection, keys);
  }

  absentKeys(keys: readonly Buffer[], type?: string): Promise<readonly Buffer[] | RedisFailure> {
    return absentKeys(this.#connection, keys, type);
  }

  async health(_of?: HealthOf, { withoutOwn = false }: HealthOptions = {}): Promise<Health | RedisFailure> {
    const sample = withoutOwn ? Array.from({ length: SAMPLED_KEYS }, (): Command => ['RANDOMKEY']) : [];
    const [role, keys, ...sampled] = await this.#send(['ROLE'], ['DBSIZE'], ...sample);
    if (role instanceof RedisFailure) return role;
    if (keys instanceof RedisFailure) return keys;
    const { notMaster, place } = this.#connection;
    if (!isMaster(role) && notMaster.code === 'DEMOTED') return notMaster;
    const answer = { isMaster: isMaster(role), keys: Math.round(Number(keys) * (1 - ownShare(sampled))) };
    return { ...answer, slots: ALL_SLOTS, servers: [{ place, slots: ALL_SLOTS, answer }] };
  }

  async clock(): Promise<ClockReading | RedisFailure> {
    const askedAtMs = performance.now();
    const [time] = await this.#send(['TIME']);
    const answeredAtMs = performance.now();
    if (time instanceof RedisFailure) return time;
    const [seconds, microseconds] = (time as Buffer[]).map(Number) as [number, number];
    return {
      serverTimeMs: seconds * 1000 + microseconds / 1000,
      atMs: (askedAtMs + answeredAtMs) / 2,
      uncertaintyMs: (answeredAtMs - askedAtMs) / 2,
    };
  }

  async check(): Promise<readonly RedisFailure[]> {
    const [reply] = await this.#send(['PING']);
    if (reply instanceof RedisFailure) throw explained(reply, this.place);
    return [];
  }

  async close(): Promise<void> {
    this.#breakers?.close();
    this.#replicas?.close();
    this.#connection.close();
  }

  /** For a state that a write is to be fenced by. */
  async #observe<State extends object>(
    script: Script,
    rows: readonly Row[],
    state: (answer: RowAnswer) => State,
    options?: Pick<RunOptions, 'atMaster'>,
  ): Promise<(State | RedisFailure)[]> {
    const answers = await this.#runToTheEnd(script, rows, options);
    return answers.map((answer) => {
      if (answer instanceof RedisFailure) return answer;
      const observed = state(answer);
      observedAt.set(observed, answer.server);
      return observed;
    });
  }

  /**
   * Writes what is as it was observed, and at the server where it was: the clock of another one
   * bounds nothing, so there a key counts as changed.
   */
  async #fenced<Request extends { readonly observed: object }, Outcome extends string>(
    script: Script,
    requests: readonly Request[],
    rowOf: (request: Request) => Row,
  ): Promise<(Outcome | 'changed' | RedisFailure)[]> {
    const { server, commandTimeoutMs: withinMs } = this.#connection;
    const isHere = ({ observed }: Request) => observedAt.get(observed) === server;
    const rows = requests.filter(isHere).map(rowOf);
    const answers = await this.#runToTheEnd(script, rows, { server });
    return requests.map((request) => (isHere(request) ? outcome<Outcome>(answers.shift()!, withinMs) : 'changed'));
  }

  /** What a key must still be like, and until when, for a write to apply. */
  #fence(observed: ObservedState): (Buffer | string)[] {
    return [digestBytes(observed), `${observed.expiry}`, this.#deadline(observed)];
  }

  /**
   * In ms of the server's clock: counted from the observation, for by then another attempt may have
   * found the key equal and ended, whatever has kept this one. So it has also passed there when we
   * stop waiting here.
   */
  #deadline({ serverTimeMs }: Pick<ObservedState, 'serverTimeMs'>): string {
    return `${serverTimeMs + this.#connection.commandTimeoutMs}`;
  }

  async #send(...commands: Command[]): Promise<unknown[]> {
    const replies = await this.#connection.send(commands);
    for (const [index, reply] of replies.entries()) this.#count?.(...costOf(commands[index]!, reply));
    return replies;
  }

  /** All scripts of this port are run here, so that none goes uncounted. */
  #run(
    script: Script,
    rows: readonly Row[],
    options?: Omit<RunOptions, 'count'>,
  ): Promise<(RowAnswer | 'deferred' | RedisFailure)[]> {
    return runScript(this.#connection, script, rows, { ...options, count: this.#count });
  }

  async #runForKey(script: Script, row: Row): Promise<RowAnswer | RedisFailure> {
    const [answer] = await this.#runToTheEnd(script, [row]);
    return answer!;
  }

  /**
   * Calls a script as often as it takes until it has answered all rows. It answers at least one
   * each time.
   */
  async #runToTheEnd(
    script: Script,
    rows: readonly Row[],
    options?: Omit<RunOptions, 'count'>,
  ): Promise<(RowAnswer | RedisFailure)[]> {
    const answers: (RowAnswer | RedisFailure)[] = [];
    while (answers.length < rows.length) {
      const rest = rows.slice(answers.length);
      for (const answer of await this.#run(script, rest, options)) if (answer !== 'deferred') answers.push(answer);
    }
    return answers;
  }
}

/** Enough to tell a database that is full of marks from one that is not. */
const SAMPLED_KEYS = 300;

/**
 * At most so many of a sample are the application's although none was drawn, in 19 of 20 cases: it
 * is better to take the target for larger than it is.
 */
const UNSEEN = 3;

/** A server that does not let itself be asked has none of ours, as far as is known. */
function ownShare(sampled: readonly unknown[]): number {
  const keys = sampled.filter((key): key is Buffer => Buffer.isBuffer(key));
  if (keys.length === 0) return 0;
  return Math.max(0, keys.filter(isOwnKey).length - UNSEEN) / keys.length;
}

const CARDINALITY: Readonly<Record<string, string>> = { hash: 'HLEN', set: 'SCARD', zset: 'ZCARD' };
