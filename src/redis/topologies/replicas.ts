/**
 * The keys of a Redis as its replicas have them, for what reads a lot and decides nothing. Which
 * replicas there are is asked of each master, whatever the topology.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import type { Connection } from '../connection/connection.js';
import { failureAt, RedisFailure } from '../connection/failure.js';
import {
  absentKeys,
  digestKeys,
  type KeyPage,
  type KeyScan,
  type KeyServer,
  type Keyspace,
  type PageDigest,
  scanPage,
} from '../keyspace.js';
import { serverName } from './server-name.js';

/** What is asked of the masters. */
export interface Masters extends Pick<Keyspace, 'place' | 'connections' | 'shardsOf' | 'keyServers'> {
  /** @param place as `keyServers` and `shardsOf` name it */
  masterAt(place: string): Promise<Connection | RedisFailure>;
}

/** A replica, or a master that has none. */
interface Reader {
  readonly connection: Connection;
  readonly isReplica: boolean;
}

/** A replica that did not answer is not asked for so long, where there is another. */
const AVOIDED_MS = 30_000;
/** So long a replica may take to have what its master has. */
const CATCHES_UP_MS = 5_000;
const LOOK_EVERY_MS = 50;
const AT_REPLICA = { atMaster: false };

export class Replicas implements Keyspace {
  readonly #masters: Masters;
  /** By the place of the master. */
  #readers = new Map<string, Reader>();
  /** By address, until when. */
  readonly #avoided = new Map<string, number>();
  #closed = 0;

  constructor(masters: Masters) {
    this.#masters = masters;
  }

  get place(): string {
    return this.#masters.place;
  }

  get connections(): number {
    const replicas = [...this.#readers.values()].filter(({ isReplica }) => isReplica);
    return replicas.reduce(
      (sum, { connection }) => sum + connection.connections,
      this.#masters.connections + this.#closed,
    );
  }

  shardsOf(keys: readonly Buffer[]): Promise<readonly string[]> {
    return this.#masters.shardsOf(keys);
  }

  async keyServers(): Promise<readonly KeyServer[] | RedisFailure> {
    const masters = await this.#masters.keyServers();
    if (masters instanceof RedisFailure) return masters;
    for (const place of this.#readers.keys()) if (!masters.some((master) => master.place === place)) this.#leave(place);
    const servers = await Promise.all(masters.map((master) => this.#serverFor(master)));
    return servers.find((server) => server instanceof RedisFailure) ?? (servers as KeyServer[]);
  }

  async scanKeys(place: string, scan: KeyScan): Promise<KeyPage | RedisFailure> {
    const [master, reader] = [...this.#readers].find(([, { connection }]) => connection.place === place) ?? [];
    if (master === undefined) return new RedisFailure('DEMOTED', 'not read any more', { place });
    return this.#read(master, ({ connection }, at) => scanPage(connection, scan, at), reader);
  }

  async digestKeys(keys: readonly Buffer[]): Promise<PageDigest | RedisFailure> {
    const [master] = await this.shardsOf(keys.slice(0, 1));
    return this.#read(master!, ({ connection }, at) => digestKeys(connection, keys, at));
  }

  async absentKeys(keys: readonly Buffer[], type?: string): Promise<readonly Buffer[] | RedisFailure> {
    const [master] = await this.shardsOf(keys.slice(0, 1));
    return this.#read(master!, ({ connection }, at) => absentKeys(connection, keys, type, at));
  }

  close(): void {
    for (const place of this.#readers.keys()) this.#leave(place);
  }

  async #read<Answer>(
    master: string,
    ask: (reader: Reader, at: { atMaster: boolean } | undefined) => Promise<Answer | RedisFailure>,
    reader = this.#readers.get(master),
  ): Promise<Answer | RedisFailure> {
    // Slots have moved, or nobody has looked yet.
    if (reader === undefined) return new RedisFailure('DEMOTED', 'it is not known who reads there', { place: master });
    const answer = await ask(reader, reader.isReplica ? AT_REPLICA : undefined);
    if (!(answer instanceof RedisFailure) || answer.place !== undefined) return answer;
    if (reader.isReplica && ['CONNECTION', 'TIMEOUT', 'LOADING', 'MASTERDOWN'].includes(answer.code)) {
      this.#avoided.set(reader.connection.shard, performance.now() + AVOIDED_MS);
    }
    return failureAt(answer, reader.connection.place);
  }

  async #serverFor(master: KeyServer): Promise<KeyServer | RedisFailure> {
    const connection = await this.#masters.masterAt(master.place);
    if (connection instanceof RedisFailure) return connection;
    const [info] = await connection.send([['INFO', 'replication']]);
    if (info instanceof RedisFailure) return info;
    const replication = String(info);
    const reader = this.#readerFor(master.place, connection, onlineIn(replication, connection));
    if (!reader.isReplica) return master;
    const server = await stateOf(reader.connection, Number(field('master_repl_offset', replication)));
    if (!(server instanceof RedisFailure))
      return { ...master, ...server, place: reader.connection.place, isReplica: true };
    this.#avoided.set(reader.connection.shard, performance.now() + AVOIDED_MS);
    return failureAt(server, reader.connection.place);
  }

  /** The one that is read already, where it can be: its cursors go on. */
  #readerFor(place: string, master: Connection, online: readonly Address[]): Reader {
    const isAvoided = ({ host, port }: Address) => (this.#avoided.get(`${host}:${port}`) ?? 0) > performance.now();
    const wanted = online.filter((address) => !isAvoided(address));
    const now = this.#readers.get(place);
    const isNow = ({ host, port }: Address) => now?.connection.shard === `${host}:${port}`;
    if (now?.isReplica && wanted.some(isNow)) return now;
    const [address] = wanted.length > 0 ? wanted : online;
    if (address === undefined && now?.connection === master) return now;
    this.#leave(place);
    const connection = address === undefined ? master : master.replicaAt(address.host, address.port);
    const reader = { connection, isReplica: address !== undefined };
    this.#readers.set(place, reader);
    return reader;
  }

  #leave(place: string): void {
    const reader = this.#readers.get(place);
    this.#readers.delete(place);
    if (!reader?.isReplica) return;
    this.#closed += reader.connection.connections + 1;
    reader.connection.close();
  }
}

interface Address {
  readonly host: string;
  readonly port: number;
}

/** In the order of their addresses, so that it is the same one each time. */
function onlineIn(replication: string, master: Connection): Address[] {
  const lines = [...replication.matchAll(/^slave\d+:ip=([^,]+),port=(\d+),state=online\b/gm)];
  return lines
    .map(([, host, port]) => master.reachable(host!, Number(port)))
    .sort((one, other) => `${one.host}:${one.port}`.localeCompare(`${other.host}:${other.port}`));
}

function field(name: string, info: string): string | undefined {
  return new RegExp(`^${name}:(\\S+)`, 'm').exec(info)?.[1];
}

/** Once it has what its master had: then whatever differed by then differs there, too. */
async function stateOf(
  replica: Connection,
  offset: number,
): Promise<Pick<KeyServer, 'server' | 'keys'> | RedisFailure> {
  for (const until = performance.now() + CATCHES_UP_MS; ; await sleep(LOOK_EVERY_MS)) {
    const [info, replies, keys] = await replica.send([['INFO', 'server'], ['INFO', 'replication'], ['DBSIZE']]);
    const server = serverName(info, replies, replica.database);
    if (server instanceof RedisFailure) return server;
    if (keys instanceof RedisFailure) return keys;
    const replication = String(replies);
    const isLinked = field('role', replication) === 'slave' && field('master_link_status', replication) === 'up';
    if (isLinked && Number(field('slave_repl_offset', replication)) >= offset) {
      return { server, keys: Number(keys) };
    }
    if (performance.now() >= until) return new RedisFailure('LAGGING', 'lags behind its master');
  }
}
