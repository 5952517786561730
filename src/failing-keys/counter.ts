/**
 * Counts the distinct keys whose writes fail, by link and hour, on the source of the link: however
 * many bridges run and however often a record comes, a key counts once. It is a help for people:
 * nothing waits for it, and what it can't tell the source is forgotten.
 */
import { createHash } from 'node:crypto';
import type { Logger } from 'pino';
import type { LinkConfig } from '../config.js';
import { counted } from '../plural.js';
import { type Command, connectKeyServers, explained, type KeyServers, RedisFailure } from '../redis/index.js';
import {
  beginningOf,
  type CountingLink,
  countKey,
  countsFailingKeys,
  type Hour,
  hourAt,
  hourOf,
  KEPT_MS,
} from './names.js';

/** What is told of the keys of one batch of records. */
interface FailedKey {
  readonly link: LinkConfig;
  readonly key: Buffer;
  readonly writes: readonly { readonly event: { readonly failedAt: string } }[];
}

/** Long enough for one call to tell of many keys, soon enough for a person who looks. */
const TELL_EVERY_MS = 500;
const KEYS_OF_A_COMMAND = 1_000;
/** What waits is no more, however many come while the source is slow. */
const MOST_WAITING = 50_000;
/** Longer ones are told by their digest, so that none makes a large command. */
const LONGEST_KEY = 256;
/** A source that is away is not asked by each batch. */
const REST_MS = 10_000;
const LINE_EVERY_MS = 60_000;
const COMMAND_TIMEOUT_MS = 1_000;

export class FailingKeys {
  readonly #logger: Logger;
  readonly #links = new Map<string, LinkCount>();
  #isClosed = false;

  constructor(logger: Logger) {
    this.#logger = logger;
  }

  /** Returns at once, and never throws. */
  saw(keys: Iterable<FailedKey>): void {
    // A batch in hand may outlive this; it would connect once more.
    if (this.#isClosed) return;
    const now = Date.now();
    const [oldest, newest] = [hourAt(now - KEPT_MS), hourAt(now)];
    for (const { link, key, writes } of keys) {
      if (!countsFailingKeys(link)) continue;
      let count = this.#links.get(link.name);
      if (count === undefined) {
        count = new LinkCount(link, this.#logger);
        this.#links.set(link.name, count);
      }
      let last = '';
      for (const { event } of writes) {
        let hour = hourOf(event.failedAt);
        // By a clock that is ahead it would be an hour that nobody looks at.
        if (hour > newest) hour = newest;
        if (hour === last || hour <= oldest) continue;
        last = hour;
        count.add(hour, key);
      }
    }
  }

  /** Tells what waits. Takes about a second at most. */
  async close(): Promise<void> {
    this.#isClosed = true;
    await Promise.all([...this.#links.values()].map((count) => count.close()));
  }
}

class LinkCount {
  readonly #link: CountingLink;
  readonly #logger: Logger;
  readonly #servers: KeyServers;
  #waiting = new Map<Hour, Buffer[]>();
  #waitingKeys = 0;
  /** Since the last line. */
  #forgotten = 0;
  #lastLine = Number.NEGATIVE_INFINITY;
  #restsUntil = Number.NEGATIVE_INFINITY;
  #timer: NodeJS.Timeout | undefined;
  #telling: Promise<void> | undefined;

  constructor(link: CountingLink, logger: Logger) {
    this.#link = link;
    this.#logger = logger;
    const name = `source of link ${link.name}`;
    this.#servers = connectKeyServers(link.source, { name, commandTimeoutMs: COMMAND_TIMEOUT_MS });
  }

  add(hour: Hour, key: Buffer): void {
    if (this.#waitingKeys >= MOST_WAITING || performance.now() < this.#restsUntil) {
      this.#forgotten += 1;
      return;
    }
    this.#waitingKeys += 1;
    const element = key.length > LONGEST_KEY ? createHash('sha256').update(key).digest() : key;
    const keys = this.#waiting.get(hour);
    if (keys === undefined) this.#waiting.set(hour, [element]);
    else keys.push(element);
    this.#timer ??= setTimeout(() => void this.#tell(), TELL_EVERY_MS).unref();
  }

  /** One at a time; what comes meanwhile waits for the next turn. */
  #tell(): Promise<void> {
    this.#telling ??= this.#tellAll().finally(() => {
      this.#telling = undefined;
      this.#timer = this.#waitingKeys === 0 ? undefined : setTimeout(() => void this.#tell(), TELL_EVERY_MS).unref();
    });
    return this.#telling;
  }

  async #tellAll(): Promise<void> {
    const [waiting, keys] = [this.#waiting, this.#waitingKeys];
    this.#waiting = new Map();
    this.#waitingKeys = 0;
    const failure = await this.#send(waiting);
    if (failure === null) return;
    this.#forgotten += keys;
    this.#restsUntil = performance.now() + REST_MS;
    this.#sayOf(failure);
  }

  /** Never rejects. */
  async #send(waiting: ReadonlyMap<Hour, readonly Buffer[]>): Promise<RedisFailure | null> {
    for (const [hour, keys] of waiting) {
      const name = countKey(this.#link, hour);
      const server = await this.#servers.serverOf(name);
      if (server instanceof RedisFailure) return explained(server, this.#servers.place);
      const commands: Command[] = [];
      for (let begin = 0; begin < keys.length; begin += KEYS_OF_A_COMMAND)
        commands.push(['PFADD', name, ...keys.slice(begin, begin + KEYS_OF_A_COMMAND)]);
      commands.push(['PEXPIREAT', name, `${beginningOf(hour) + KEPT_MS}`]);
      const failure = (await server.send(commands)).find((reply) => reply instanceof RedisFailure);
      if (failure instanceof RedisFailure) {
        this.#servers.heed(failure);
        return explained(failure, server.place);
      }
    }
    return null;
  }

  #sayOf({ message }: RedisFailure): void {
    const now = performance.now();
    if (now - this.#lastLine < LINE_EVERY_MS) return;
    this.#lastLine = now;
    // No warning: nothing of the work is hindered, and a source that is away is told of elsewhere.
    this.#logger.info(
      `${counted(this.#forgotten, 'failing key')} of link ${this.#link.name} could not be counted, which hinders no repair: ${message}`,
    );
    this.#forgotten = 0;
  }

  async close(): Promise<void> {
    clearTimeout(this.#timer);
    // One that is under way has not what came since.
    await this.#telling;
    if (this.#waitingKeys > 0) await this.#tell();
    clearTimeout(this.#timer);
    this.#servers.close();
  }
}
