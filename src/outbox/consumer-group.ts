/**
 * One consumer of a consumer group on a stream. What it was given stays assigned to it until it is
 * finished; what is assigned to a consumer that was not heard of for a while can be claimed by
 * another. Every method but `close` throws a `RedisFailure` whose message names the server and says
 * what to do.
 */
import { readFileSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { isOwnKey } from '../own-keys.js';
import { type Command, type Connection, explained, type KeyServers, RedisFailure } from '../redis/index.js';
import { appended, describeSetAside, setAsideForeign } from './append.js';

export interface DeliveredEntry {
  /** `<ms since the epoch>-<number>`, as Redis gave it. */
  readonly id: string;
  /** Name, value, name, value, … */
  readonly fields: readonly Buffer[];
}

interface ConsumerGroupOptions {
  /** Where the stream is. Stays open when the consumer is closed. */
  readonly servers: KeyServers;
  /** The key of the stream. */
  readonly stream: string;
  readonly group: string;
  /** Unique among all processes, ever: whoever takes this name takes what is assigned to it. */
  readonly consumer: string;
  /** Gets one line when the stream was something else, which was set aside. */
  readonly warn: (line: string) => void;
}

interface ClaimedEntries {
  readonly entries: DeliveredEntry[];
  readonly isThrough: boolean;
}

/** Where XAUTOCLAIM begins, and what it answers when it has come to the end. */
const BEGINNING = '0-0';
const REMOVE_IDLE_CONSUMERS = readFileSync(new URL('./lua/remove-idle-consumers.lua', import.meta.url), 'utf8');
/** Longer than anybody waits before it claims. */
const IDLE_FOR_EVER_MS = 24 * 60 * 60_000;
/**
 * How a Cluster says that a slot moves or has moved, and how long it takes until that is known
 * everywhere.
 */
const REDIRECTS: readonly string[] = ['MOVED', 'ASK', 'TRYAGAIN'];
const REDIRECT_PAUSE_MS = 300;
/** To the new master of a slot, and from there to the next. */
const MOST_REDIRECTS = 2;

type Entries = readonly (readonly [id: Buffer, fields: readonly Buffer[] | null] | null)[];

export class ConsumerGroup {
  readonly place: string;
  readonly #servers: KeyServers;
  readonly #stream: string;
  readonly #group: string;
  readonly #consumer: string;
  readonly #warn: (line: string) => void;
  /**
   * Blocks while it waits for entries, so that it is of no use for anything else. To the server
   * that `of` leads to.
   */
  #reader: { readonly connection: Connection; readonly of: Connection } | null = null;
  #claimFrom = BEGINNING;

  constructor({ servers, stream, group, consumer, warn }: ConsumerGroupOptions) {
    this.#servers = servers;
    this.#stream = stream;
    this.#group = group;
    this.#consumer = consumer;
    this.#warn = warn;
    this.place = `${stream} at ${servers.place}`;
  }

  /**
   * Makes the group unless it is there; it begins with the oldest entry of the stream.
   * @returns false when there is no stream: it is not made, a server that needs none shall not get
   *   one
   */
  async join(): Promise<boolean> {
    if ((await this.#ask(['EXISTS', this.#stream])) === 0) return false;
    const reply = await this.#ask(
      ['XGROUP', 'CREATE', this.#stream, this.#group, '0'],
      ['BUSYGROUP', ...this.#replaced],
    );
    const isForeign = reply instanceof RedisFailure && reply.code === 'WRONGTYPE';
    if (isForeign) await this.#setAside();
    return !isForeign;
  }

  /** Whether the group is there, wherever its slot may be now. */
  async isThere(): Promise<boolean> {
    const reply = await this.#ask(['XPENDING', this.#stream, this.#group], ['NOGROUP', ...this.#replaced]);
    return !(reply instanceof RedisFailure);
  }

  /** How a server says that something else stands there, if that may be set aside. */
  get #replaced(): readonly string[] {
    return isOwnKey(this.#stream) ? ['WRONGTYPE'] : [];
  }

  async #setAside(): Promise<void> {
    const { setAside } = appended(await this.#ask(['EVAL', ...setAsideForeign(this.#stream)]));
    if (setAside !== null) this.#warn(describeSetAside(this.#stream, this.#servers.place, setAside));
  }

  /**
   * Waits for entries that no consumer was given yet.
   * @param blockMs must be below the command timeout
   * @returns at least one entry, none after `blockMs`, or `gone` when there is no such group (any
   *   more)
   */
  async read(count: number, blockMs: number): Promise<DeliveredEntry[] | 'gone'> {
    const consumer = ['GROUP', this.#group, this.#consumer] as const;
    const limits = ['COUNT', `${count}`, 'BLOCK', `${blockMs}`] as const;
    const command = ['XREADGROUP', ...consumer, ...limits, 'STREAMS', this.#stream, '>'] as const;
    const gone = ['NOGROUP', 'UNBLOCKED', ...this.#replaced];
    const [reply] = await this.#send((server) => this.#openReader(server), [command], gone);
    if (reply instanceof RedisFailure) {
      // UNBLOCKED: the stream was deleted, or went to another server, while this waited.
      if (reply.code === 'UNBLOCKED') this.#closeReader();
      return 'gone';
    }
    const [[, entries] = [null, []]] = (reply ?? []) as [Buffer, Entries][];
    return toEntries(entries);
  }

  /**
   * Takes over entries whose consumer, which may be this one, was not heard of for `minIdleMs`.
   * Goes on where it ended last time. Entries that were removed are forgotten and count as well, so
   * that none does not mean that nothing is left.
   * @returns `isThrough`: it has come to the end, and begins anew next time
   */
  async claim(count: number, minIdleMs: number): Promise<ClaimedEntries | 'gone'> {
    const range = [`${minIdleMs}`, this.#claimFrom, 'COUNT', `${count}`] as const;
    const reply = await this.#ask(
      ['XAUTOCLAIM', this.#stream, this.#group, this.#consumer, ...range],
      ['NOGROUP', ...this.#replaced],
    );
    if (reply instanceof RedisFailure) return 'gone';
    const [next, entries] = reply as [Buffer, Entries];
    const from = this.#claimFrom;
    this.#claimFrom = next.toString();
    if (entries.includes(null)) await this.#finishRemoved(from);
    return { entries: toEntries(entries), isThrough: this.#claimFrom === BEGINNING };
  }

  /**
   * Before Redis 7 an entry that was removed while it was assigned is claimed again and again, and
   * not even its ID is said. Looks at as many as a claim does.
   */
  async #finishRemoved(from: string): Promise<void> {
    const pending = await this.#ask(['XPENDING', this.#stream, this.#group, from, '+', '1000', this.#consumer]);
    const ids = (pending as [Buffer, ...unknown[]][]).map(([id]) => id.toString());
    const left = new Set((await this.fetch(ids)).map(({ id }) => id));
    const removed = ids.filter((id) => !left.has(id));
    if (removed.length > 0) await this.finish(removed);
  }

  /** Entries that were given to a consumer before, as far as they are still there. */
  async fetch(ids: readonly string[]): Promise<DeliveredEntry[]> {
    const replies = await this.#askAll(ids.map((id) => ['XRANGE', this.#stream, id, id]));
    return (replies as Entries[]).flatMap(toEntries);
  }

  /**
   * About how many entries no consumer was given yet. Fewer where an application has removed some
   * that are assigned still.
   */
  async unread(): Promise<number> {
    const commands: Command[] = [
      ['XLEN', this.#stream],
      ['XPENDING', this.#stream, this.#group],
    ];
    const [entries, assigned] = await this.#askAll(commands, ['NOGROUP', ...this.#replaced]);
    // Deleted just now.
    if (entries instanceof RedisFailure || assigned instanceof RedisFailure) return 0;
    const [count] = assigned as [number, ...unknown[]];
    return Math.max(0, Number(entries) - Number(count));
  }

  /** The clock of the server, which the IDs of entries come from, in ms since the epoch. */
  async nowMs(): Promise<number> {
    const [seconds, micros] = (await this.#ask(['TIME'])) as [Buffer, Buffer];
    return Number(seconds) * 1000 + Math.floor(Number(micros) / 1000);
  }

  /**
   * Says that these entries are still being worked on. Those that are finished are not affected.
   */
  async keep(ids: readonly string[]): Promise<void> {
    // Whoever was silent for so long that others claimed its entries takes them back here. Both
    // then finish them, which is twice; were nobody to keep them, it could be never.
    await this.#ask(['XCLAIM', this.#stream, this.#group, this.#consumer, '0', ...ids, 'JUSTID']);
  }

  /**
   * Forgets entries, whoever they are assigned to. In one step: an entry without assignment would
   * stay for ever.
   */
  async finish(ids: readonly string[]): Promise<void> {
    await this.#askAll([
      ['MULTI'],
      ['XACK', this.#stream, this.#group, ...ids],
      ['XDEL', this.#stream, ...ids],
      ['EXEC'],
    ]);
  }

  /** Ends this consumer. What is assigned to it can be claimed at once. */
  async leave(): Promise<void> {
    const pending = await this.#ask(['XPENDING', this.#stream, this.#group, '-', '+', '1000', this.#consumer]);
    const ids = (pending as [Buffer, ...unknown[]][]).map(([id]) => id);
    if (ids.length === 0) {
      // A read that was given up here may still be given entries: then it stays, and they can be
      // claimed later.
      await this.#removeConsumers(-1, this.#consumer);
    } else {
      const idle = ['IDLE', `${IDLE_FOR_EVER_MS}`, 'JUSTID'];
      await this.#ask(['XCLAIM', this.#stream, this.#group, this.#consumer, '0', ...ids, ...idle]);
    }
  }

  /** Removes consumers that were not heard of for `idleMs` and have nothing assigned. */
  async removeIdleConsumers(idleMs: number): Promise<void> {
    await this.#removeConsumers(idleMs);
  }

  /** @param name if only that one is meant */
  async #removeConsumers(idleMs: number, ...name: string[]): Promise<void> {
    await this.#ask(['EVAL', REMOVE_IDLE_CONSUMERS, '1', this.#stream, this.#group, `${idleMs}`, ...name]);
  }

  /**
   * Whether this server, when its memory is full, may throw away streams. False where it does not
   * let us know.
   */
  async mayEvict(): Promise<boolean> {
    const server = await this.#servers.serverOf(this.#stream);
    if (server instanceof RedisFailure) return false;
    const [reply] = await server.send([['INFO', 'memory']]);
    const info = String(reply);
    return !/^maxmemory:0\r?$/m.test(info) && /^maxmemory_policy:allkeys-/m.test(info);
  }

  close(): void {
    this.#closeReader();
  }

  /** @param expected codes of failures that are returned instead of thrown */
  async #ask(command: Command, expected: readonly string[] = []): Promise<unknown> {
    const [reply] = await this.#askAll([command], expected);
    return reply;
  }

  async #askAll(commands: readonly Command[], expected: readonly string[] = []): Promise<unknown[]> {
    return this.#send((server) => server, commands, expected);
  }

  /** @param open the connection to use to a server */
  async #send(open: (server: Connection) => Connection, commands: readonly Command[], expected: readonly string[]) {
    let connection = open(await this.#server());
    let replies = await connection.send(commands);
    for (let redirects = 0; redirects < MOST_REDIRECTS; redirects++) {
      // Nothing was done: a transaction in which a command is refused is discarded as a whole.
      const redirect = replies.find(isRedirect);
      if (redirect === undefined) break;
      const importing = this.#servers.importing(redirect);
      if (importing !== null) {
        connection = open(importing);
        replies = await sendAsking(connection, commands);
      } else {
        this.#servers.heed(redirect);
        await sleep(REDIRECT_PAUSE_MS);
        connection = open(await this.#server());
        replies = await connection.send(commands);
      }
    }
    for (const reply of replies) {
      if (reply instanceof RedisFailure && !expected.includes(reply.code)) throw this.#failed(reply, connection);
    }
    return replies;
  }

  async #server(): Promise<Connection> {
    const server = await this.#servers.serverOf(this.#stream);
    if (server instanceof RedisFailure) throw this.#failed(server, this.#servers);
    return server;
  }

  #openReader(server: Connection): Connection {
    if (this.#reader?.of !== server) {
      this.#closeReader();
      this.#reader = { connection: server.another(), of: server };
    }
    return this.#reader.connection;
  }

  #closeReader(): void {
    this.#reader?.connection.close();
    this.#reader = null;
  }

  #failed(failure: RedisFailure, { place }: { readonly place: string }): RedisFailure {
    this.#servers.heed(failure);
    // It is of lifetime `single`, and whatever it met, another may be better off.
    this.#closeReader();
    return explained(failure, place);
  }
}

function isRedirect(reply: unknown): reply is RedisFailure {
  return reply instanceof RedisFailure && REDIRECTS.includes(reply.code);
}

/** Sends what the master of a slot would not do to the node that the slot is on its way to. */
async function sendAsking(connection: Connection, commands: readonly Command[]): Promise<unknown[]> {
  // ASKING counts for one command; in front of MULTI for the transaction as a whole.
  const isTransaction = commands[0]![0] === 'MULTI';
  const asking = commands.flatMap((command, index): Command[] =>
    isTransaction && index > 0 ? [command] : [['ASKING'], command],
  );
  const replies = await connection.send(asking);
  return replies.filter((_, index) => asking[index]![0] !== 'ASKING');
}

/**
 * Entries that were deleted while they were assigned have no fields, or (before Redis 7) are null.
 */
function toEntries(entries: Entries): DeliveredEntry[] {
  return entries.flatMap((entry) => (entry?.[1] ? [{ id: entry[0].toString(), fields: entry[1] }] : []));
}
