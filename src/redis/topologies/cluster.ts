/**
 * The port on a Cluster: each call is split by master, every part runs by itself on a
 * `StandaloneRedis`, and the answers come together in the order of the keys.
 *
 * No redirect is followed, so nothing is ever sent to two places: a key whose slot has moved fails
 * with the code `MOVED`, `ASK` or `TRYAGAIN`, and is asked for at the right master the next time.
 *
 * Scripts name their keys in ARGV. A node checks each command of a script as it would check it
 * alone: a key whose slot it has not, and one that is not there (any more) in a slot that is being
 * moved away, is refused and never told absent. So a key that has moved can't be taken for one that
 * was deleted. Lua runs in one piece, and what a row writes after its first write needs nothing
 * that could be refused (`isGone` of lua/prelude.lua, lua/large/swap.lua).
 * `docs/decisions/0008-topologies.md` says with which versions this was tried.
 */
import { askedSoon, type Breaker, type Breakers, looksOut } from '../breaker.js';
import { admit } from '../budget/admission.js';
import type { ClusterBudgets } from '../budget/cluster-budgets.js';
import type { Connection } from '../connection/connection.js';
import { explained } from '../connection/explain.js';
import { failureAt, RedisFailure } from '../connection/failure.js';
import type { Health, HealthOf, HealthOptions, ServerHealth } from '../health.js';
import { summarize } from '../health.js';
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
import type { KeyWatch } from '../key-watch.js';
import type { KeyPage, KeyScan, KeyServer, PageDigest } from '../keyspace.js';
import type { Admission, AdmissionRequest, ClockReading, Deferred, RedisPort } from '../port.js';
import type { RowVersion } from '../row-versions.js';
import type { CountCost } from '../scripts/script-runner.js';
import { ALL_SLOTS, haveCommonSlots, slotOf } from '../slots.js';
import type {
  ObservedState,
  Reading,
  ReadRequest,
  Rebuild,
  RecipeReading,
  Repair,
  RepairOutcome,
} from '../whole-key.js';
import type { ClusterNodes, Master } from './cluster-nodes.js';
import { type Masters, Replicas } from './replicas.js';
import { StandaloneRedis } from './standalone.js';

interface WithKey {
  readonly key: Buffer;
}

type Ask<Request, Answer> = (
  port: StandaloneRedis,
  part: readonly Request[],
  master: Master,
) => Promise<(Answer | RedisFailure)[]>;

const CLUSTER_DOWN = new RedisFailure('CLUSTERDOWN', 'the Cluster is down: not all slots have a master');

export class ClusterRedis implements RedisPort, Masters {
  readonly #nodes: ClusterNodes;
  readonly #budgets: ClusterBudgets | undefined;
  readonly #breakers: Breakers | undefined;
  readonly #count: CountCost | undefined;
  #replicas: Replicas | undefined;

  /** @param options `count` as for `StandaloneRedis` */
  constructor(
    nodes: ClusterNodes,
    options: { readonly budgets?: ClusterBudgets; readonly breakers?: Breakers; readonly count?: CountCost } = {},
  ) {
    this.#nodes = nodes;
    this.#budgets = options.budgets;
    this.#breakers = options.breakers;
    this.#count = options.count;
  }

  get replicas(): Replicas {
    this.#replicas ??= new Replicas(this);
    return this.#replicas;
  }

  get place(): string {
    return this.#nodes.place;
  }

  get connections(): number {
    return this.#nodes.connections;
  }

  async shardsOf(keys: readonly Buffer[]): Promise<readonly string[]> {
    // To look for its masters would take some seconds, each time.
    if (this.#breaker?.isOpen) return keys.map(() => this.place);
    const masters = await this.#nodes.mastersOf(keys);
    return masters.map((master) => (master instanceof RedisFailure ? this.place : master.connection.place));
  }

  async admit(requests: readonly AdmissionRequest[], turns?: number): Promise<Admission | Deferred | RedisFailure> {
    const { key } = requests[0]!;
    const keys = requests.map((request) => request.key);
    const waits = this.#breaker?.waits(keys, turns) ?? (await this.#breakerOf(key))?.waits(keys, turns);
    if (waits) return waits;
    const budgets = this.#budgets;
    if (budgets === undefined) return { kind: 'admitted', keys: requests.length, port: this, done: () => 0 };
    const ask = async (master: Master) => {
      const masters = await this.#nodes.masters();
      if (masters instanceof RedisFailure) return masters;
      const counted = (count: CountCost) => new ClusterRedis(this.#nodes, { budgets, count });
      return this.#heeded(await admit(budgets.of(master, masters.length), requests, counted), master);
    };
    return this.#atMasterOf(key, async (_, master) => {
      const answer = await ask(master);
      return answer instanceof RedisFailure && budgets.refused(master, answer) ? ask(master) : answer;
    });
  }

  async outage(keys: readonly Buffer[], turns?: number): Promise<Deferred | null> {
    const breaker = (await this.#breakerOf(keys[0]!)) ?? this.#breaker;
    return breaker?.suspect(keys, turns) ?? null;
  }

  /** That of the whole Cluster: none of its nodes says who has which slot. */
  get #breaker(): Breaker | undefined {
    return this.#breakers?.of(this.#nodes.shard, () => this.answers(this.#nodes.shard));
  }

  /** That of the master of a key, as far as it is known who that is. */
  async #breakerOf(key: Buffer): Promise<Breaker | undefined> {
    if (this.#breakers === undefined) return undefined;
    const master = await this.#nodes.masterOf(key);
    if (master instanceof RedisFailure) return undefined;
    const { shard } = master.connection;
    return this.#breakers.of(shard, () => this.answers(shard));
  }

  async answers(shard: string): Promise<RedisFailure | null> {
    const masters = await this.#nodes.masters();
    if (masters instanceof RedisFailure) return looksOut(masters) ? masters : null;
    // Where another has taken its place, the keys have somewhere to go.
    const master = masters.find(({ connection }) => connection.shard === shard);
    if (master === undefined) return null;
    const asked = master.connection.send([['PING'], ['CLUSTER', 'INFO']]);
    // It answers PING also while the Cluster refuses its keys, because others have no master.
    const isDown = ([, info]: readonly unknown[]) => /cluster_state:fail/.test(String(info));
    return this.#heeded(await askedSoon(asked, (replies) => (isDown(replies) ? CLUSTER_DOWN : null)), master);
  }

  inspect(
    keys: readonly Buffer[],
    options?: { readonly atMaster?: boolean },
  ): Promise<(ObservedState | RedisFailure)[]> {
    const requests = keys.map((key) => ({ key }));
    return this.#split(requests, (port, part) =>
      port.inspect(
        part.map(({ key }) => key),
        options,
      ),
    );
  }

  read(requests: readonly ReadRequest[]): Promise<(Reading | 'deferred' | RedisFailure)[]> {
    return this.#split(requests, (port, part) => port.read(part));
  }

  repair(repairs: readonly Repair[]): Promise<(RepairOutcome | RedisFailure)[]> {
    return this.#split(repairs, (port, part) => port.repair(part));
  }

  readRecipes(requests: readonly ReadRequest[]): Promise<(RecipeReading | 'deferred' | RedisFailure)[]> {
    return this.#split(requests, (port, part) => port.readRecipes(part));
  }

  rebuild(rebuilds: readonly Rebuild[]): Promise<(RepairOutcome | RedisFailure)[]> {
    return this.#split(rebuilds, (port, part) => port.rebuild(part));
  }

  rememberVersions(versions: readonly RowVersion[]): Promise<('remembered' | 'behind' | RedisFailure)[]> {
    return this.#split(versions, (port, part) => port.rememberVersions(part));
  }

  inspectMembers(
    requests: readonly MembersRequest[],
    options?: { readonly atMaster?: boolean },
  ): Promise<(MembersState | RedisFailure)[]> {
    return this.#split(requests, (port, part) => port.inspectMembers(part, options));
  }

  readMembers(requests: readonly MembersRequest[]): Promise<(MembersReading | 'deferred' | RedisFailure)[]> {
    return this.#split(requests, (port, part) => port.readMembers(part));
  }

  repairMembers(repairs: readonly MembersRepair[]): Promise<(MembersOutcome | RedisFailure)[]> {
    return this.#split(repairs, (port, part) => port.repairMembers(part));
  }

  scanMembers(scan: MembersScan): Promise<MembersPage | 'lost' | null | RedisFailure> {
    return this.#atMasterOf(scan.key, (port) => port.scanMembers(scan));
  }

  isInOnePiece(key: Buffer): Promise<boolean | RedisFailure> {
    return this.#atMasterOf(key, (port) => port.isInOnePiece(key));
  }

  server(key: Buffer): Promise<string | RedisFailure> {
    return this.#atMasterOf(key, (port) => port.server());
  }

  digestMembers(members: TypedMembers): Promise<Buffer | null | RedisFailure> {
    return this.#atMasterOf(members.key, (port) => port.digestMembers(members));
  }

  differingMembers(members: TypedMembers, digests: Buffer): Promise<DifferingMembers | RedisFailure> {
    return this.#atMasterOf(members.key, (port) => port.differingMembers(members, digests));
  }

  cardinality(key: Buffer, type: string): Promise<number | RedisFailure> {
    return this.#atMasterOf(key, (port) => port.cardinality(key, type));
  }

  watch(key: Buffer): Promise<KeyWatch | RedisFailure> {
    return this.#atMasterOf(key, (port) => port.watch(key));
  }

  clock(key: Buffer): Promise<ClockReading | RedisFailure> {
    return this.#atMasterOf(key, (port) => port.clock());
  }

  async keyServers(): Promise<readonly KeyServer[] | RedisFailure> {
    const masters = await this.#nodes.mastersNow();
    if (masters instanceof RedisFailure) return masters;
    const asked = masters.map(async (master): Promise<KeyServer | RedisFailure> => {
      const answer = this.#heeded(await this.#portTo(master).keyServers(), master);
      if (answer instanceof RedisFailure) return answer;
      const [nodes] = await master.connection.send([['CLUSTER', 'NODES']]);
      if (nodes instanceof RedisFailure) return this.#heeded(nodes, master);
      const [, myself = ''] = /^.*\bmyself\b(.*)$/m.exec(String(nodes)) ?? [];
      return { ...answer[0], slots: master.slots, moving: myself.match(/\[\S+\]/g) ?? [] };
    });
    const servers = await Promise.all(asked);
    return servers.find((server) => server instanceof RedisFailure) ?? (servers as KeyServer[]);
  }

  async masterAt(place: string): Promise<Connection | RedisFailure> {
    const master = await this.#masterAt(place);
    return master instanceof RedisFailure ? master : master.connection;
  }

  async #masterAt(place: string): Promise<Master | RedisFailure> {
    const masters = await this.#nodes.masters();
    if (masters instanceof RedisFailure) return masters;
    const master = masters.find(({ connection }) => connection.place === place);
    return master ?? new RedisFailure('DEMOTED', 'not a master any more', { place });
  }

  async scanKeys(place: string, scan: KeyScan): Promise<KeyPage | RedisFailure> {
    const master = await this.#masterAt(place);
    if (master instanceof RedisFailure) return master;
    return this.#heeded(await this.#portTo(master).scanKeys(place, scan), master);
  }

  digestKeys(keys: readonly Buffer[]): Promise<PageDigest | RedisFailure> {
    return this.#atMasterOf(keys[0]!, (port) => port.digestKeys(keys));
  }

  absentKeys(keys: readonly Buffer[], type?: string): Promise<readonly Buffer[] | RedisFailure> {
    return this.#atMasterOf(keys[0]!, (port) => port.absentKeys(keys, type));
  }

  async health(of: HealthOf = { slots: ALL_SLOTS }, options?: HealthOptions): Promise<Health | RedisFailure> {
    const masters = await this.#nodes.masters();
    if (masters instanceof RedisFailure) return masters;
    const slots = 'slots' in of ? of.slots : [[slotOf(of.key), slotOf(of.key)] as const];
    const asked = masters.filter((master) => haveCommonSlots(master.slots, slots));
    const servers = asked.map(async (master): Promise<ServerHealth> => {
      const answer = this.#heeded(await this.#portTo(master).health(undefined, options), master);
      return { place: master.connection.place, slots: master.slots, answer };
    });
    return summarize(await Promise.all(servers));
  }

  async check(): Promise<readonly RedisFailure[]> {
    const masters = await this.#nodes.masters();
    if (masters instanceof RedisFailure) throw explained(masters, this.place);
    const failures: RedisFailure[] = [];
    const note = (failure: unknown) => failures.push(failure as RedisFailure);
    await Promise.all(masters.map((master) => this.#portTo(master).check().catch(note)));
    if (failures.length === masters.length) throw failures[0]!;
    return failures;
  }

  async close(): Promise<void> {
    this.#breakers?.close();
    this.#replicas?.close();
    this.#nodes.close();
  }

  async #split<Request extends WithKey, Answer>(
    requests: readonly Request[],
    ask: Ask<Request, Answer>,
  ): Promise<(Answer | RedisFailure)[]> {
    const masters = await this.#nodes.mastersOf(requests.map(({ key }) => key));
    const answers = new Array<Answer | RedisFailure>(requests.length);
    const parts = new Map<Master, number[]>();
    for (const [index, master] of masters.entries()) {
      if (master instanceof RedisFailure) answers[index] = master;
      else if (parts.has(master)) parts.get(master)!.push(index);
      else parts.set(master, [index]);
    }
    const run = async ([master, part]: [Master, readonly number[]]) => {
      const asked = part.map((index) => requests[index]!);
      const ofPart = await ask(this.#portTo(master), asked, master);
      for (const [position, index] of part.entries()) answers[index] = this.#heeded(ofPart[position]!, master);
    };
    await Promise.all([...parts].map(run));
    return answers;
  }

  async #atMasterOf<Answer>(
    key: Buffer,
    ask: (port: StandaloneRedis, master: Master) => Promise<Answer | RedisFailure>,
  ): Promise<Answer | RedisFailure> {
    const master = await this.#nodes.masterOf(key);
    if (master instanceof RedisFailure) return master;
    return this.#heeded(await ask(this.#portTo(master), master), master);
  }

  #portTo({ connection }: Master): StandaloneRedis {
    return new StandaloneRedis(connection, this.#count && { count: this.#count });
  }

  /** An answer as it is, a failure with the master that it is of. */
  #heeded<Answer>(answer: Answer | RedisFailure, { connection }: Master): Answer | RedisFailure {
    if (!(answer instanceof RedisFailure) || answer.place !== undefined) return answer;
    this.#nodes.heed(answer);
    return failureAt(answer, connection.place);
  }
}
