/**
 * The masters of a Cluster, one connection to each, and which of them has which slot, as its nodes
 * tell.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { type Access, addressAt, apart, reachable } from '../connection/address.js';
import { Connection, type ConnectionOptions } from '../connection/connection.js';
import { RedisFailure } from '../connection/failure.js';
import { SLOTS, type Slots, slotOf } from '../slots.js';

export interface Master {
  readonly connection: Connection;
  /** At least one. */
  readonly slots: Slots;
}

interface Topology {
  readonly masters: readonly Master[];
  readonly bySlot: readonly (Master | undefined)[];
  /** Of all nodes that were told of, replicas too. */
  readonly nodeIds: ReadonlySet<string>;
}

/**
 * How soon after one look at the topology another makes sense: nodes need a moment to hear of a
 * change, too.
 */
const LEAST_INTERVAL_MS = 250;
/** How often to look without a sign of change. */
const LOOK_EVERY_MS = 30_000;
/** How many nodes are asked at once; the first that answers is believed. */
const ASKED_AT_ONCE = 3;
/** What shows that slots or roles are not as they were when last looked at. */
const SIGNS_OF_CHANGE: ReadonlySet<string> = new Set([
  'MOVED',
  'ASK',
  'TRYAGAIN',
  'CLUSTERDOWN',
  'READONLY',
  'NOTMASTER',
  'DEMOTED',
  'CONNECTION',
  'TIMEOUT',
]);

/**
 * Connects when first asked. Redirects are not followed: a key that has moved fails once, and is
 * found the next time.
 */
export class ClusterNodes {
  readonly #seeds: readonly URL[];
  readonly #access: Access;
  readonly #options: ConnectionOptions;
  /** By `host:port`. */
  readonly #connections = new Map<string, Connection>();
  #topology: Topology | null = null;
  #looking: Promise<Topology | RedisFailure> | null = null;
  #lookAfter = 0;
  /** What the last look met, if no node answered. */
  #failedLook: RedisFailure | null = null;
  #looks = 0;
  #changes = 0;
  #isStale = true;
  #closed = false;
  #lookAgain: NodeJS.Timeout | undefined;

  /** @param urls of some nodes; their user, password and protocol are used for all nodes */
  constructor(urls: readonly string[], options: ConnectionOptions, access: Access = {}) {
    this.#seeds = urls.map((url) => new URL(url));
    this.#access = access;
    this.#options = { ...options, hasSuccessor: true, isNode: true };
  }

  get place(): string {
    return `${this.#options.name} (Cluster at ${this.#seeds.map(addressOf).join(', ')})`;
  }

  /** What to call all of it together, as the others are called by their addresses. */
  get shard(): string {
    return `cluster:${addressOf(this.#seeds[0]!)}`;
  }

  /** How often it has connected to a master, or slots have gone from one to another. */
  get connections(): number {
    return this.#masters.reduce((sum, { connection }) => sum + connection.connections, this.#changes);
  }

  get #masters(): readonly Master[] {
    return this.#topology?.masters ?? [];
  }

  /** The master that has the slot of the key now, as far as is known. */
  async masterOf(key: Buffer): Promise<Master | RedisFailure> {
    const [master] = await this.mastersOf([key]);
    return master!;
  }

  /** That for many keys, in their order. */
  async mastersOf(keys: readonly Buffer[]): Promise<(Master | RedisFailure)[]> {
    const topology = await this.#current();
    if (topology instanceof RedisFailure) return keys.map(() => topology);
    const nobody = () => new RedisFailure('CLUSTERDOWN', 'no node has the slot of the key');
    return keys.map((key) => topology.bySlot[slotOf(key)] ?? nobody());
  }

  /** All masters that have slots. */
  async masters(): Promise<readonly Master[] | RedisFailure> {
    const topology = await this.#current();
    return topology instanceof RedisFailure ? topology : topology.masters;
  }

  /** As they are by now: a slot that moves shows otherwise only to whoever asks for a key in it. */
  async mastersNow(): Promise<readonly Master[] | RedisFailure> {
    await this.#looking;
    await sleep(Math.max(0, this.#lookAfter - performance.now()));
    this.#isStale = true;
    return this.masters();
  }

  /**
   * To be told of what a master answered: where it shows that the topology has changed, the next
   * call looks at it anew.
   */
  heed(failure: RedisFailure): void {
    if (SIGNS_OF_CHANGE.has(failure.code)) this.#isStale = true;
  }

  /**
   * The node that an ASK names: where a key is whose slot is still on its way there. It wants
   * `ASKING` ahead of each command.
   * @returns null where the failure names no node
   */
  importing({ message }: RedisFailure): Connection | null {
    const [, host, port] = /^ASK \d+ (\S+):(\d+)$/.exec(message) ?? [];
    return host && host !== UNKNOWN ? this.#connectionTo(this.#reached(host, Number(port))) : null;
  }

  close(): void {
    this.#closed = true;
    clearInterval(this.#lookAgain);
    for (const connection of this.#connections.values()) connection.close();
  }

  async #current(): Promise<Topology | RedisFailure> {
    const mayLook = this.#topology === null || performance.now() >= this.#lookAfter;
    // Where nobody has answered just now, what was known before is worth nothing.
    if (this.#failedLook !== null && !mayLook) return this.#failedLook;
    if (this.#topology !== null && !(this.#isStale && mayLook)) return this.#topology;
    this.#looking ??= this.#look()
      .then((answer) => {
        this.#failedLook = answer instanceof RedisFailure ? answer : null;
        return answer;
      })
      .finally(() => {
        this.#looking = null;
        this.#lookAfter = performance.now() + LEAST_INTERVAL_MS;
      });
    return this.#looking;
  }

  async #look(): Promise<Topology | RedisFailure> {
    this.#isStale = false;
    const known = [...this.#connections.keys(), ...this.#seeds.map(addressOf)];
    // Not always the same first: a node that was cut off from the others would be believed for
    // ever.
    const turn = this.#looks++ % known.length;
    const addresses = [...new Set([...known.slice(turn), ...known.slice(0, turn)])];
    const failures: RedisFailure[] = [];
    for (let at = 0; at < addresses.length && !this.#closed; at += ASKED_AT_ONCE) {
      const asked = addresses.slice(at, at + ASKED_AT_ONCE).map(async (address) => {
        const [reply] = await this.#connectionTo(address).send([['CLUSTER', 'SLOTS']]);
        if (reply instanceof RedisFailure) throw reply;
        if (this.#isOfAnother(reply as SlotsReply)) throw ANOTHER_CLUSTER;
        return { address, reply: reply as SlotsReply };
      });
      try {
        const { address, reply } = await Promise.any(asked);
        if (reply.length > 0) return this.#adopt(address, reply);
        failures.push(new RedisFailure('CLUSTERDOWN', 'no node has slots'));
      } catch (error) {
        failures.push(...((error as AggregateError).errors as RedisFailure[]));
      }
    }
    this.#isStale = true;
    return (
      failures.find((failure) => failure === ANOTHER_CLUSTER) ??
      failures[0] ??
      new RedisFailure('CONNECTION', 'it was closed here')
    );
  }

  /**
   * An address that was known can have passed to a Cluster with the same password, which has the
   * same slots and other data.
   */
  #isOfAnother(ranges: SlotsReply): boolean {
    const known = this.#topology?.nodeIds;
    return known !== undefined && ranges.length > 0 && nodeIdsOf(ranges).every((id) => !known.has(id));
  }

  #adopt(asked: string, ranges: SlotsReply): Topology {
    const slots = new Map<string, [number, number][]>();
    const nodeIds = new Map<string, string | undefined>();
    for (const [first, last, [told, port, id, others]] of ranges) {
      const host = `${told}` === UNKNOWN ? ipIn(others) : told;
      // A node that does not know how it is reached leaves its own host out; some leave out all.
      const isAsked = id !== undefined && this.#connections.get(asked)?.nodeId === `${id}`;
      const here = () => (isAsked ? asked : this.#reached(apart(asked).host, port));
      const address = host?.length ? this.#reached(`${host}`, port) : here();
      slots.set(address, [...(slots.get(address) ?? []), [first, last]]);
      nodeIds.set(address, id && `${id}`);
    }
    for (const [address, connection] of this.#connections) {
      const [known, told] = [connection.nodeId, nodeIds.get(address)];
      const isReplaced = known !== undefined && told !== undefined && known !== told;
      if (slots.has(address) && !isReplaced) continue;
      this.#connections.delete(address);
      // Others are asked for the slots now and then, which means nothing to those of the masters.
      if (this.#masters.some((master) => master.connection === connection)) this.#changes += connection.connections;
      connection.close();
    }
    const bySlot: (Master | undefined)[] = Array.from({ length: SLOTS });
    const masters = [...slots].map(([address, ranges]): Master => {
      const master = { connection: this.#connectionTo(address), slots: ranges };
      master.connection.expectNode(nodeIds.get(address));
      for (const [first, last] of ranges) bySlot.fill(master, first, last + 1);
      return master;
    });
    if (layoutOf(masters) !== layoutOf(this.#masters)) this.#changes += 1;
    // Whose nodes are all replaced one by one while nobody asks for a key would be taken for
    // another Cluster.
    this.#lookAgain ??= setInterval(() => {
      this.#isStale = true;
      void this.#current();
    }, LOOK_EVERY_MS).unref();
    this.#topology = { masters, bySlot, nodeIds: new Set(nodeIdsOf(ranges)) };
    return this.#topology;
  }

  #reached(host: string, port: number): string {
    const place = reachable(host, port, this.#access);
    return addressAt(place.host, place.port);
  }

  #connectionTo(address: string): Connection {
    const known = this.#connections.get(address);
    if (known) return known;
    const url = new URL(this.#seeds[0]!);
    url.host = address;
    const connection = new Connection({ ...this.#access, url: url.href }, this.#options);
    if (this.#closed) connection.close();
    else this.#connections.set(address, connection);
    return connection;
  }
}

const ANOTHER_CLUSTER = new RedisFailure(
  'CONNECTION',
  'a node of another Cluster has one of its addresses now; if the Cluster was made anew, start keymend again',
);

type NodeOfReply = [host: Buffer | null, port: number, id?: Buffer, others?: Buffer[]];
/** Of CLUSTER SLOTS: ranges, each with its master and then its replicas. */
type SlotsReply = [first: number, last: number, master: NodeOfReply, ...replicas: NodeOfReply[]][];

/** In place of a name, where nodes are to be named by one and this one has none. */
const UNKNOWN = '?';

/** Of how else a node is reached: names and values in turn, from Redis 7 on. */
function ipIn(others: readonly Buffer[] | undefined): Buffer | undefined {
  const at = others?.findIndex((word, index) => index % 2 === 0 && `${word}` === 'ip') ?? -1;
  return at < 0 ? undefined : others![at + 1];
}

function nodeIdsOf(ranges: SlotsReply): string[] {
  return ranges.flatMap(([, , ...nodes]) => nodes.map(([, , id]) => `${id}`));
}

function layoutOf(masters: readonly Master[]): string {
  return JSON.stringify(masters.map(({ connection, slots }) => [connection.place, slots]).sort());
}

const REDIS_PORT = '6379';

function addressOf({ hostname, port }: URL): string {
  return `${hostname}:${port || REDIS_PORT}`;
}
