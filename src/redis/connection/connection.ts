/**
 * One connection to one server, with the settings under which no command is ever sent later than it
 * was asked for. One class, although it is long: to open, to use and to give up a connection turn
 * on the same few fields, and each of its races is between two of these.
 */
import { Socket } from 'node:net';
import { TLSSocket } from 'node:tls';
import { Redis, Command as RedisCommand, type RedisOptions } from 'ioredis';
import { LARGE_VALUES } from '../../defaults.js';
import { isOwnKey } from '../../own-keys.js';
import { jittered, pauseAfter } from '../../patience/pause.js';
import { parseRedisUrl } from '../../redis-url.js';
import { tlsFailure } from '../../tls-trouble.js';
import { costOf } from '../scripts/operations.js';
import {
  type Address,
  addressAt,
  describeAddress,
  natMapOf,
  reachable,
  readAccess,
  sentinelOptions,
  shardName,
} from './address.js';
import { type CommandInPieces, sendInPieces } from './command-in-pieces.js';
import { encodeCommand } from './encode-command.js';
import { failureOf, failureOfReply, RedisFailure, type RefusedCommand } from './failure.js';
import { outliveSentinels } from './sentinel-listeners.js';
import { expectFurtherErrors } from './socket-errors.js';

/**
 * A value with more elements or bytes than these is large: no single command goes through it as a
 * whole.
 */
export interface LargeValues {
  readonly elements: number;
  readonly bytes: number;
}

export interface ConnectionOptions {
  /** What to call this Redis in messages, for example `target of link east-to-west`. */
  readonly name: string;
  /** How long to wait for an answer, in ms. The connection is reset then. Default 5,000. */
  readonly commandTimeoutMs?: number;
  /** Default 5,000 elements or 1 MiB. */
  readonly largeValues?: LargeValues;
  /**
   * Who becomes the master in its place is found without a change of the address. Default: so with
   * Sentinels.
   */
  readonly hasSuccessor?: boolean;
  /**
   * A node of a Cluster. Its address can pass to another one, even of another Cluster: then it is
   * refused. Default false.
   */
  readonly isNode?: boolean;
  /** Of a master, for reads alone. As a node of a Cluster it wants to be told so. Default false. */
  readonly isReplica?: boolean;
}

/** A command: its name, then its arguments. */
export type Command = readonly [name: string, ...args: (Buffer | string)[]];

/** What else of a command may lie in the same buffer as its longest argument. */
const BESIDES = 65_536;
/**
 * Every server takes an argument of so many bytes, whatever its settings: neither limit can be set
 * below 1 MiB.
 */
const LEAST_LIMIT = 1_048_576 - BESIDES;
const LIMITS = [
  { setting: 'proto-max-bulk-len', besides: 0 },
  { setting: 'client-query-buffer-limit', besides: BESIDES },
] as const;

/** Between attempts to connect. */
const PAUSES = { firstMs: 50, longestMs: 2_000 };
/**
 * A server that stays a replica, because the address is wrong, is not connected to with every
 * command.
 */
const LEAST_RENEWAL_INTERVAL_MS = 250;

/**
 * Connects with the first command and again when it is needed; after failed attempts not sooner
 * than a growing delay, and commands in between fail at once. So there is no queue from which a
 * write could be sent when nobody waits for it any more.
 */
export class Connection {
  readonly place: string;
  /** `shardName` of the server. */
  readonly shard: string;
  readonly commandTimeoutMs: number;
  readonly largeValues: LargeValues;
  readonly #hasSuccessor: boolean;
  readonly #client: Redis;
  #opening: Promise<void> | null = null;
  #closed = false;
  /** The handshake went well, and the connection has not been given up since. */
  #usable = false;
  #connections = 0;
  #server: object = {};
  /** Set while the server is asked how long an argument may be. */
  #asking: Promise<RedisFailure | null> | null = null;
  /** It has not refused to say how long an argument may be. */
  #saysLimit = true;
  #operations = 0;
  #bytes = 0;
  #nodeId: string | undefined;
  #expectedNodeId: string | undefined;
  /** Calls that wait for their replies. They do not reject. */
  readonly #underWay = new Set<Promise<unknown>>();
  /** Set while the connection is given up or was reset, until its end. */
  #renewal: Promise<void> | null = null;
  #renewNotBefore = 0;
  #failedAttempts = 0;
  /** Of the first Sentinel, since it was last connected; null: not asked. */
  #tlsFailure: Promise<Error | null> | null = null;
  #notBefore = 0;
  #lastError: unknown = null;

  readonly #address: Address;
  readonly #options: ConnectionOptions;
  readonly #lifetime: 'renewed' | 'single';

  /**
   * @param lifetime `single`: never connects a second time, for what a server keeps by connection
   *   (WATCH) and forgets with it
   */
  constructor(address: Address, options: ConnectionOptions, lifetime: 'renewed' | 'single' = 'renewed') {
    this.#address = address;
    this.#options = options;
    this.#lifetime = lifetime;
    this.commandTimeoutMs = options.commandTimeoutMs ?? 5_000;
    this.largeValues = options.largeValues ?? LARGE_VALUES;
    this.#hasSuccessor = options.hasSuccessor ?? 'sentinel' in address;
    const settings = {
      lazyConnect: true,
      protocol: 2,
      commandTimeout: this.commandTimeoutMs,
      connectTimeout: this.commandTimeoutMs,
      connectionName: 'keymend',
      disableClientInfo: true,
      enableOfflineQueue: false,
      autoResendUnfulfilledCommands: false,
      maxRetriesPerRequest: 0,
      // Reconnecting is ours, see #ready.
      retryStrategy: null,
      // A server that is loading answers LOADING, which says more than a connection that never
      // becomes ready.
      enableReadyCheck: false,
      // Counters of a stream have 64 bits; what is asked for by the thousand has fewer.
      stringNumbers: lifetime === 'single',
    } as const satisfies RedisOptions;
    this.#client =
      'url' in address
        ? new Redis({ ...parseRedisUrl(address.url), ...settings })
        : new Redis({ ...sentinelOptions(address.sentinel, this.commandTimeoutMs), ...natMapOf(address), ...settings });
    expectFurtherErrors(this.#client);
    outliveSentinels(this.#client);
    this.#client.on('error', (error: unknown) => {
      this.#lastError = error;
    });
    this.place = `${options.name} (${describeAddress(this.#client.options)})`;
    this.shard = shardName(this.#client.options);
  }

  /** A node of a Cluster. */
  get isNode(): boolean {
    return this.#options.isNode ?? false;
  }

  /** That the server is not a master: for good, or until the next command finds the one that is. */
  get notMaster(): RedisFailure {
    return this.#hasSuccessor
      ? new RedisFailure('DEMOTED', 'not a master any more')
      : new RedisFailure('NOTMASTER', 'not a master');
  }

  /** Its number. */
  get database(): number {
    return this.#client.options.db ?? 0;
  }

  /** Of a node of a Cluster: the ID of the one that answered last. */
  get nodeId(): string | undefined {
    return this.#nodeId;
  }

  /** From the next connect on nobody but that node is let answer; undefined: whoever answers. */
  expectNode(id: string | undefined): void {
    this.#expectedNodeId = id;
  }

  /** How often it was established. */
  get connections(): number {
    return this.#connections;
  }

  /**
   * Stands for the server that answers: another object as soon as it may be another server, whose
   * clock is another too.
   */
  get server(): object {
    return this.#server;
  }

  /** How many it has executed, as far as is known; within a transaction, a script counts as one. */
  get operations(): number {
    return this.#operations;
  }

  /** How many have been sent and received, about. */
  get bytes(): number {
    return this.#bytes;
  }

  /**
   * Sends commands one behind the other without waiting in between. Never rejects.
   * @param server the only one to which they may be sent
   * @returns their replies in order, bulk strings as `Buffer`
   */
  async send(commands: readonly Command[], server?: object): Promise<unknown[]> {
    let refused = await this.#readyFor(longestArgument(commands));
    if (refused === null && server !== undefined && server !== this.#server)
      refused = new RedisFailure(...OTHER_SERVER);
    if (refused !== null) return commands.map(() => refused);
    const replies = await this.#answered(Promise.all(this.#writeTogether(commands)));
    for (const [index, reply] of replies.entries()) this.#countCost(commands[index]!, reply);
    if (replies.some((reply) => reply instanceof RedisFailure && reply.code === 'TIMEOUT')) this.#reset();
    if (replies.some((reply, index) => tellsOfReplica(commands[index]!, reply))) this.#renew();
    return replies;
  }

  /**
   * Resolves when a command whose longest argument has so many bytes may be sent, at once and on
   * the connection as it is then.
   * @returns why it may not
   */
  async #readyFor(bytes: number): Promise<RedisFailure | null> {
    let isAsked = bytes <= LEAST_LIMIT;
    try {
      await this.#ready();
      // What is sent later stays behind what waits for its answer here. Meanwhile the connection
      // may have been given up.
      for (; this.#asking !== null || !isAsked; await this.#ready()) {
        if (this.#asking !== null) {
          await this.#asking;
          continue;
        }
        isAsked = true;
        this.#asking = this.#answered(this.#refusedLength(bytes));
        const refused = await this.#asking;
        this.#asking = null;
        if (refused !== null) return refused;
      }
      return null;
    } catch (error) {
      return failureOf(error);
    }
  }

  /** The connection is not ended meanwhile. */
  async #answered<Reply>(reply: Promise<Reply>): Promise<Reply> {
    this.#underWay.add(reply);
    try {
      return await reply;
    } finally {
      this.#underWay.delete(reply);
    }
  }

  /** In one write to the socket: each costs both sides a call of their systems. */
  #writeTogether(commands: readonly Command[]): Promise<unknown>[] {
    const { stream } = this.#client;
    stream?.cork();
    try {
      return commands.map((command) =>
        this.#write(command).catch((error: unknown) => failureOf(error, describeCommand(command))),
      );
    } finally {
      stream?.uncork();
    }
  }

  #write(words: Command): Promise<unknown> {
    const command = new RedisCommand(words[0], [], { replyEncoding: null });
    const bytes = encodeCommand(words);
    command.toWritable = () => bytes;
    return this.#client.sendCommand(command) as Promise<unknown>;
  }

  /**
   * Sends one command with an argument that is never in memory as a whole; see `sendInPieces`.
   * Nothing else may be sent on this connection meanwhile.
   * @returns its reply
   * @throws what `pieces` threw; the server then never gets the whole command
   */
  async sendInPieces(command: CommandInPieces): Promise<unknown> {
    try {
      await this.#ready();
    } catch (error) {
      return failureOf(error);
    }
    let reply: unknown;
    try {
      const refused = await this.#refusedLength(command.bytes);
      if (refused !== null) return refused;
      const pieces = this.#countedPieces(command.pieces);
      reply = await sendInPieces(this.#client, { ...command, pieces }, this.commandTimeoutMs);
    } catch (error) {
      this.#reset();
      throw error;
    }
    this.#countCost([...command.head, ...command.tail], reply);
    if (reply instanceof RedisFailure && reply.code === 'TIMEOUT') this.#reset();
    return reply;
  }

  /** Of what nobody shares: all that goes through a port is counted there. */
  #countCost(command: readonly unknown[], reply: unknown): void {
    if (this.#lifetime !== 'single') return;
    const [operations, bytes] = costOf(command, reply);
    this.#operations += operations ?? 0;
    this.#bytes += bytes;
  }

  /** Each counts as soon as it is sent: the whole may take minutes. */
  async *#countedPieces(pieces: AsyncIterable<Buffer>): AsyncGenerator<Buffer> {
    for await (const piece of pieces) {
      this.#bytes += piece.length;
      yield piece;
    }
  }

  /**
   * A server that is sent a longer argument than it takes closes the connection, on which others
   * wait for their answers.
   * @returns why not to send one of so many bytes; null where it is taken, or nobody can say
   */
  async #refusedLength(bytes: number): Promise<RedisFailure | null> {
    for (const { setting, besides } of LIMITS) {
      if (bytes <= LEAST_LIMIT || !this.#saysLimit) return null;
      // Each time: beside so many bytes it costs nothing, and the setting may have changed.
      const reply = await this.#write(['CONFIG', 'GET', setting]).catch(failureOf);
      // Not allowed to this user, or unknown to this make of server: anything else that it answers
      // now, or no answer, is no refusal to say.
      if (reply instanceof RedisFailure && !['NOPERM', 'ERR'].includes(reply.code)) return reply;
      this.#saysLimit = Array.isArray(reply) && reply.length === 2;
      const limit = this.#saysLimit ? Number((reply as Buffer[])[1]) : Infinity;
      if (bytes + besides > limit)
        return new RedisFailure('TOOBIG', `it takes no argument of more than ${limit - besides} bytes (${setting})`);
    }
    return null;
  }

  /** A further connection to the same server, of lifetime `single`. */
  another(): Connection {
    const further = new Connection(this.#address, this.#options, 'single');
    further.#expectedNodeId = this.#expectedNodeId;
    return further;
  }

  /** Where a server is reached that this one names. */
  reachable(host: string, port: number): { readonly host: string; readonly port: number } {
    return reachable(host, port, this.#address);
  }

  /** A connection to a replica of this server, with its user, password and database. */
  replicaAt(host: string, port: number): Connection {
    const { username, password, db, tls } = this.#client.options;
    const url = new URL(`${tls ? 'rediss' : 'redis'}://${addressAt(host, port)}/${db ?? 0}`);
    url.username = encodeURIComponent(username ?? '');
    url.password = encodeURIComponent(password ?? '');
    const { passwordFile, tls: files } = this.#address;
    const address = { url: url.href, passwordFile, tls: files };
    return new Connection(address, { ...this.#options, hasSuccessor: true, isReplica: true });
  }

  close(): void {
    this.#closed = true;
    this.#client.disconnect();
  }

  async #ready(): Promise<void> {
    // Bounded: what is under way ends within the command timeout, and ioredis destroys a connection
    // that does not end.
    if (this.#renewal !== null) await this.#renewal;
    if (this.#usable && this.#client.status === 'ready') return;
    if (this.#closed) throw new RedisFailure('CONNECTION', 'it was closed here');
    if (this.#usable && this.#lifetime === 'single') throw new RedisFailure('CONNECTION', 'the connection was closed');
    this.#opening ??= this.#open().finally(() => {
      this.#opening = null;
    });
    await this.#opening;
  }

  async #open(): Promise<void> {
    if (performance.now() < this.#notBefore) throw this.#lastError;
    this.#lastError = null;
    this.#usable = false;
    try {
      // Files that were replaced count from now on.
      Object.assign(this.#client.options, readAccess(this.#address));
      await this.#client.connect();
      // ioredis goes on after a refused SELECT, in database 0: the wrong keys.
      if (this.#lastError !== null) throw this.#lastError;
      if (this.#options.isNode) await this.#identify();
      if (this.#options.isNode && this.#options.isReplica) await this.#write(['READONLY']);
      this.#failedAttempts = 0;
      this.#tlsFailure = null;
      this.#connections += 1;
      this.#server = {};
      this.#saysLimit = true;
      this.#usable = true;
    } catch (error) {
      // What connect() itself says is only "closed"; the reason came as an event.
      this.#lastError ??= error;
      this.#lastError = (await this.#sentinelTrouble()) ?? this.#lastError;
      // Of a client that was told to close although it had ended, ioredis keeps the reason of the
      // next failure to itself.
      if (this.#client.status !== 'end') this.#client.disconnect();
      this.#failedAttempts += 1;
      this.#notBefore = performance.now() + jittered(pauseAfter(this.#failedAttempts, PAUSES));
      throw this.#lastError;
    }
  }

  /**
   * Of Sentinels ioredis says only that none of them answers. Asked once in a row of failed
   * attempts: it can take a whole timeout, in which all commands wait.
   */
  async #sentinelTrouble(): Promise<Error | null> {
    const { sentinels, sentinelTLS } = this.#client.options;
    if (!sentinels || !sentinelTLS || failureOf(this.#lastError).errno !== undefined) return null;
    this.#tlsFailure ??= tlsFailure({ ...sentinels[0], ...sentinelTLS, timeout: this.commandTimeoutMs }, 'PING\r\n');
    return this.#tlsFailure;
  }

  /** Before anything is sent there: who answers may have the same slots, and other data. */
  async #identify(): Promise<void> {
    try {
      const id = String(await this.#write(['CLUSTER', 'MYID']));
      this.#nodeId = id;
      if (id === (this.#expectedNodeId ?? id)) return;
      const message = 'another node has its address now; if the Cluster was made anew, start keymend again';
      throw new RedisFailure('CONNECTION', message);
    } catch (error) {
      // Not allowed to this user, or unknown to this make of Cluster: then it is believed.
      if (['NOPERM', 'ERR'].includes(failureOf(error).code)) return;
      // At once: until the connection has ended, the next attempt would only find that.
      this.#reset();
      throw error;
    }
  }

  /**
   * It leads to a replica: behind the same name, or by what the Sentinels say now, there may be a
   * master.
   */
  #renew(): void {
    if (this.#lifetime === 'single' || this.#renewal !== null || performance.now() < this.#renewNotBefore) return;
    this.#renewNotBefore = performance.now() + LEAST_RENEWAL_INTERVAL_MS;
    this.#renewal = this.#end().finally(() => {
      this.#renewal = null;
    });
  }

  /**
   * Lets what is under way have its answers, while new commands wait, then closes the connection.
   */
  async #end(): Promise<void> {
    // Again for who found the connection ready in the moment before.
    do await Promise.all(this.#underWay);
    while (this.#underWay.size > 0);
    if (this.#closed || this.#client.status !== 'ready') return;
    this.#usable = false;
    const ended = this.#ended();
    this.#client.disconnect();
    await ended;
  }

  /**
   * Drops the connection with all that is still unsent or in flight, so that it does not reach the
   * server later. RST instead of FIN where the socket can: what is still on its way is then
   * refused.
   */
  #reset(): void {
    const { stream } = this.#client;
    if (stream === undefined || stream.destroyed) return;
    // Until it has ended, another attempt to connect would only find that it was closed: who asks
    // next is to hear of the server, not of this.
    this.#renewal ??= this.#ended().finally(() => {
      this.#renewal = null;
    });
    if (stream instanceof Socket && !(stream instanceof TLSSocket) && stream.remoteAddress !== undefined) {
      stream.resetAndDestroy();
    } else {
      stream.destroy();
    }
  }

  /** Not once() of node:events: that rejects when an error comes first. */
  #ended(): Promise<void> {
    return new Promise((resolve) => this.#client.once('end', () => resolve()));
  }
}

const OTHER_SERVER = ['OTHERSERVER', 'another server may answer by now; nothing was sent'] as const;

const HAVE_SUBCOMMANDS: ReadonlySet<string> = new Set(['CLUSTER', 'MEMORY', 'SCRIPT', 'XGROUP', 'XINFO']);

/** What a refusal is told of it. Of a script only its call is known here. */
function describeCommand([name, ...args]: Command): RefusedCommand {
  const command = HAVE_SUBCOMMANDS.has(name) ? `${name} ${args[0]}` : name;
  return { command, onOwnKey: args.slice(0, 2).some(isOwnKey) };
}

function longestArgument(commands: readonly Command[]): number {
  let longest = 0;
  for (const command of commands) for (const { length } of command) if (length > longest) longest = length;
  return longest;
}

function tellsOfReplica([name]: Command, reply: unknown): boolean {
  if (name === 'ROLE' && Array.isArray(reply)) return !isMaster(reply);
  if (name.startsWith('EVAL') && Array.isArray(reply)) return reply.some(isRefusedRow);
  return reply instanceof RedisFailure && reply.code === 'READONLY';
}

/**
 * A script of ours catches what a command says and answers it for the row: `['error', 'READONLY
 * …']`.
 */
function isRefusedRow(row: unknown): boolean {
  return Array.isArray(row) && String(row[0]) === 'error' && failureOfReply(String(row[1])).code === 'READONLY';
}

/** @param role the reply of ROLE */
export function isMaster(role: unknown): boolean {
  return Array.isArray(role) && String(role[0]) === 'master';
}
