/**
 * One consumer of a consumer group on a stream. What it was given stays assigned to it until it is finished; what is
 * assigned to a consumer that was not heard of for a while can be claimed by another.
 * Every method but `close` throws a `RedisFailure` whose message names the server and says what to do.
 */
import { readFileSync } from 'node:fs';
import type { Address } from './address.js';
import { type Command, Connection, type ConnectionOptions } from './connection.js';
import { explain } from './explain.js';
import { RedisFailure } from './failure.js';

export interface DeliveredEntry {
  /** `<ms since the epoch>-<number>`, as Redis gave it. */
  readonly id: string;
  /** Name, value, name, value, … */
  readonly fields: readonly Buffer[];
}

export interface ConsumerGroupOptions extends ConnectionOptions {
  readonly address: Address;
  /** The key of the stream. */
  readonly stream: string;
  readonly group: string;
  /** Unique among all processes, ever: whoever takes this name takes what is assigned to it. */
  readonly consumer: string;
}

const REMOVE_IDLE_CONSUMERS = readFileSync(new URL('./lua/remove-idle-consumers.lua', import.meta.url), 'utf8');
/** Longer than anybody waits before it claims. */
const IDLE_FOR_EVER_MS = 24 * 60 * 60_000;

type Entries = readonly (readonly [id: Buffer, fields: readonly Buffer[] | null] | null)[];

export class ConsumerGroup {
  readonly place: string;
  readonly #stream: string;
  readonly #group: string;
  readonly #consumer: string;
  /** Blocks while it waits for entries, so that it is of no use for anything else. */
  readonly #reader: Connection;
  readonly #control: Connection;
  #claimFrom = '0-0';

  constructor({ address, stream, group, consumer, ...connection }: ConsumerGroupOptions) {
    this.#stream = stream;
    this.#group = group;
    this.#consumer = consumer;
    this.#reader = new Connection(address, connection);
    this.#control = new Connection(address, connection);
    this.place = `${stream} at ${this.#control.place}`;
  }

  /** Makes sure that the server answers. */
  async check(): Promise<void> {
    await this.#ask(['PING']);
  }

  /**
   * Makes the group unless it is there; it begins with the oldest entry of the stream.
   * @returns false when there is no stream: it is not made, a server that needs none shall not get one
   */
  async join(): Promise<boolean> {
    if ((await this.#ask(['EXISTS', this.#stream])) === 0) return false;
    const [reply] = await this.#control.send([['XGROUP', 'CREATE', this.#stream, this.#group, '0']]);
    if (reply instanceof RedisFailure && reply.code !== 'BUSYGROUP') throw this.#explained(reply);
    return true;
  }

  /**
   * Waits for entries that no consumer was given yet.
   * @param blockMs must be below the command timeout
   * @returns at least one entry, none after `blockMs`, or `gone` when there is no such group (any more)
   */
  async read(count: number, blockMs: number): Promise<DeliveredEntry[] | 'gone'> {
    const consumer = ['GROUP', this.#group, this.#consumer] as const;
    const limits = ['COUNT', `${count}`, 'BLOCK', `${blockMs}`] as const;
    const [reply] = await this.#reader.send([['XREADGROUP', ...consumer, ...limits, 'STREAMS', this.#stream, '>']]);
    // UNBLOCKED: the stream was deleted while this waited.
    if (reply instanceof RedisFailure && ['NOGROUP', 'UNBLOCKED'].includes(reply.code)) return 'gone';
    if (reply instanceof RedisFailure) throw this.#explained(reply);
    const [[, entries] = [null, []]] = (reply ?? []) as [Buffer, Entries][];
    return toEntries(entries);
  }

  /** Takes over entries whose consumer, which may be this one, was not heard of for `minIdleMs`. Goes on where it ended last time. */
  async claim(count: number, minIdleMs: number): Promise<DeliveredEntry[] | 'gone'> {
    const [reply] = await this.#control.send([
      ['XAUTOCLAIM', this.#stream, this.#group, this.#consumer, `${minIdleMs}`, this.#claimFrom, 'COUNT', `${count}`],
    ]);
    if (reply instanceof RedisFailure && reply.code === 'NOGROUP') return 'gone';
    if (reply instanceof RedisFailure) throw this.#explained(reply);
    const [next, entries] = reply as [Buffer, Entries];
    this.#claimFrom = next.toString();
    return toEntries(entries);
  }

  /** Entries that were given to a consumer before, as far as they are still there. */
  async fetch(ids: readonly string[]): Promise<DeliveredEntry[]> {
    const replies = await this.#control.send(ids.map((id) => ['XRANGE', this.#stream, id, id]));
    for (const reply of replies) if (reply instanceof RedisFailure) throw this.#explained(reply);
    return (replies as Entries[]).flatMap(toEntries);
  }

  /** The clock of the server, which the IDs of entries come from, in ms since the epoch. */
  async nowMs(): Promise<number> {
    const [seconds, micros] = (await this.#ask(['TIME'])) as [Buffer, Buffer];
    return Number(seconds) * 1000 + Math.floor(Number(micros) / 1000);
  }

  /** Says that these entries are still being worked on. Those that are finished are not affected. */
  async keep(ids: readonly string[]): Promise<void> {
    // Whoever was silent for so long that others claimed its entries takes them back here. Both then finish them, which is
    // twice; were nobody to keep them, it could be never.
    await this.#ask(['XCLAIM', this.#stream, this.#group, this.#consumer, '0', ...ids, 'JUSTID']);
  }

  /** Forgets entries, whoever they are assigned to. In one step: an entry without assignment would stay for ever. */
  async finish(ids: readonly string[]): Promise<void> {
    const replies = await this.#control.send([
      ['MULTI'],
      ['XACK', this.#stream, this.#group, ...ids],
      ['XDEL', this.#stream, ...ids],
      ['EXEC'],
    ]);
    for (const reply of replies) if (reply instanceof RedisFailure) throw this.#explained(reply);
  }

  /** Ends this consumer. What is assigned to it can be claimed at once. */
  async leave(): Promise<void> {
    const pending = await this.#ask(['XPENDING', this.#stream, this.#group, '-', '+', '1000', this.#consumer]);
    const ids = (pending as [Buffer, ...unknown[]][]).map(([id]) => id);
    if (ids.length === 0) {
      await this.#ask(['XGROUP', 'DELCONSUMER', this.#stream, this.#group, this.#consumer]);
    } else {
      const idle = ['IDLE', `${IDLE_FOR_EVER_MS}`, 'JUSTID'];
      await this.#ask(['XCLAIM', this.#stream, this.#group, this.#consumer, '0', ...ids, ...idle]);
    }
  }

  /** Removes consumers that were not heard of for `idleMs` and have nothing assigned. */
  async removeIdleConsumers(idleMs: number): Promise<void> {
    await this.#ask(['EVAL', REMOVE_IDLE_CONSUMERS, '1', this.#stream, this.#group, `${idleMs}`]);
  }

  /** Whether this server, when its memory is full, may throw away streams. False where it does not let us know. */
  async mayEvict(): Promise<boolean> {
    const [reply] = await this.#control.send([['INFO', 'memory']]);
    const info = String(reply);
    return !/^maxmemory:0\r?$/m.test(info) && /^maxmemory_policy:allkeys-/m.test(info);
  }

  close(): void {
    this.#reader.close();
    this.#control.close();
  }

  async #ask(command: Command): Promise<unknown> {
    const [reply] = await this.#control.send([command]);
    if (reply instanceof RedisFailure) throw this.#explained(reply);
    return reply;
  }

  #explained(failure: RedisFailure): RedisFailure {
    return new RedisFailure(failure.code, `${this.#control.place} ${explain(failure)}`, { cause: failure });
  }
}

/** Entries that were deleted while they were assigned have no fields, or (before Redis 7) are null. */
function toEntries(entries: Entries): DeliveredEntry[] {
  return entries.flatMap((entry) => (entry?.[1] ? [{ id: entry[0].toString(), fields: entry[1] }] : []));
}
