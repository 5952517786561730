/**
 * Transactional mode: every write is announced in the outbox before the source carries it out, and
 * the entry (the intent) removed when the target has the write or a sink its record. An application
 * that dies in between leaves the entry, which becomes a repair.
 *
 * Why it needs no MULTI: the entry goes in front of the write on the same connection, so a source
 * (and a replica, and a replayed AOF) that has the write has the entry. An entry without its write
 * is harmless: keymend compares the key and finds it equal.
 */
import { Command, type Redis } from 'ioredis';
import { appended, describeSetAside, setAsideForeign } from '../../outbox/append.js';
import { INTENT_FIELD, outboxFields } from '../../outbox/entry.js';
import { within } from '../../patience/within.js';
import { counted } from '../../plural.js';
import { outliveSentinels } from '../../redis/index.js';
import { connectAfterDetectedFailover } from '../failover.js';
import { type RecordContext, toRecords } from '../records/to-records.js';
import type { MirrorFailure } from '../target/mirror-failure.js';
import type { Announcement } from './announce.js';
import { blockMs } from './block.js';
import type { Write } from './write.js';

/**
 * `suspended`: writes go without an intent, as in normal mode. `reason`: one line, without anything
 * of the application's data.
 */
export type IntentState = { readonly state: 'active' } | { readonly state: 'suspended'; readonly reason: string };

interface IntentsOptions {
  /** A client of the source. Only its options are used. */
  readonly client: Redis;
  /** The key of the outbox. */
  readonly key: string;
  readonly graceMs: number;
  readonly maxEntries: number;
  readonly context: RecordContext;
  readonly onState: (state: IntentState) => void;
}

interface Intent {
  /** Of the entries that the source has made. */
  readonly ids: string[];
  concluded: boolean;
  /** The source made none for one of the keys. */
  lacksEntry: boolean;
}

/**
 * How long entries that are done wait for others to be removed with them, and how many go at once.
 */
const REMOVE_EVERY_MS = 10;
const REMOVE_AT_ONCE = 1000;
/**
 * How often to look how full the outbox is: after so many new entries or so long, and when it is
 * full or does not say, again after so long.
 */
const LOOK_AFTER_ENTRIES = 1000;
const LOOK_AFTER_MS = 100;
const SUSPENDED_MS = 1000;
/** Without an answer for so long no entry is made: nobody would remove it either. */
const LOOK_WITHIN_MS = 5000;

export class Intents {
  readonly #options: IntentsOptions;
  readonly #client: Redis;
  readonly #intents = new WeakMap<Write, Intent>();
  #done: string[] = [];
  #removing: Promise<void> | undefined;
  /** Entries since the look that was answered last, and since the one that was asked last. */
  #sinceKnown = 0;
  #sinceLook = 0;
  #lookedAt = Number.NEGATIVE_INFINITY;
  #isLooking = false;
  #lookAgain: NodeJS.Timeout | undefined;
  /** Why no entries are made, until a look finds room. */
  #full: string | undefined;
  #closed = false;
  #refusedUntil = 0;
  #suspended = false;
  #uncovered = 0;

  constructor(options: IntentsOptions) {
    this.#options = options;
    // Nobody waits for it, and removing twice is harmless: so it tries until it works.
    this.#client = options.client.duplicate({
      keyPrefix: '',
      lazyConnect: true,
      protocol: 2,
      enableOfflineQueue: true,
      autoResendUnfulfilledCommands: true,
      maxRetriesPerRequest: null,
      // One of the application's would give up entries that are to be removed.
      commandTimeout: undefined,
      connectTimeout: 5000,
      socketTimeout: 5000,
      reconnectOnError: null,
      retryStrategy: (times: number) => Math.min(times * 50, 1000),
    });
    this.#client.on('error', () => {});
    outliveSentinels(this.#client);
    connectAfterDetectedFailover(this.#client, () => this.#closed);
  }

  /** Writes that went to the source without an intent. */
  get uncovered(): number {
    return this.#uncovered;
  }

  /**
   * What to send in front of a write: an entry for each key. Nothing while the outbox takes none.
   */
  announce(write: Write): Announcement[] {
    if (this.#full !== undefined || performance.now() < this.#refusedUntil) {
      this.#uncovered += 1;
      return [];
    }
    const { key, context, graceMs } = this.#options;
    const intent: Intent = { ids: [], concluded: false, lacksEntry: false };
    this.#intents.set(write, intent);
    // Of a write that blocks it begins only when that is over.
    const grace = [INTENT_FIELD, `${graceMs + blockMs(write)}`];
    const records = toRecords([write], IN_FLIGHT, context);
    this.#sinceLook += records.length;
    this.#sinceKnown += records.length;
    if (this.#sinceLook >= LOOK_AFTER_ENTRIES) this.#look();
    // Also where the looks' own connection does not come about: the entries go over another one.
    if (this.#sinceKnown >= this.#options.maxEntries + LOOK_AFTER_ENTRIES) this.#setFull(UNHEARD);
    return records.map((record) => ({
      // With an upper-case name ioredis leaves the reply as it came.
      command: new Command('XADD', [key, '*', ...outboxFields(record), ...grace]),
      answered: (reply) =>
        reply instanceof Error ? this.#notAdded(intent, reply) : this.#added(intent, String(reply)),
    }));
  }

  /**
   * Nobody needs the intents of these writes any more. Those that the source may still carry out
   * must keep theirs.
   */
  conclude(writes: readonly Write[]): void {
    for (const write of writes) {
      const intent = this.#intents.get(write);
      if (intent === undefined) continue;
      this.#intents.delete(write);
      intent.concluded = true;
      this.remove(intent.ids);
    }
  }

  /** The IDs of their entries, for `remove`: whoever has these need not keep the writes. */
  take(writes: readonly Write[]): string[] {
    return writes.flatMap((write) => this.#intents.get(write)?.ids.splice(0) ?? []);
  }

  /** Nobody needs these entries any more. */
  remove(ids: readonly string[]): void {
    if (ids.length === 0) return;
    for (const id of ids) this.#done.push(id);
    this.#removing ??= this.#removeAll().finally(() => {
      this.#removing = undefined;
    });
  }

  /** Removes what is to be removed, within the time. What is left costs one comparison each. */
  async close(timeoutMs: number): Promise<void> {
    const removed = async () => {
      while (this.#removing !== undefined) await this.#removing;
    };
    await within(timeoutMs, removed());
    this.#closed = true;
    clearTimeout(this.#lookAgain);
    this.#client.disconnect();
  }

  #added(intent: Intent, id: string): void {
    this.#refusedUntil = 0;
    this.#tell();
    if (intent.concluded) this.remove([id]);
    else intent.ids.push(id);
  }

  #notAdded(intent: Intent, refusal: Error): void {
    // Once for a write, however many of its keys have no entry.
    if (!intent.lacksEntry) this.#uncovered += 1;
    intent.lacksEntry = true;
    this.#refused(refusal);
  }

  async #removeAll(): Promise<void> {
    await new Promise((resolve) => setTimeout(resolve, REMOVE_EVERY_MS));
    let atReplica = false;
    while (this.#done.length > 0) {
      const ids = this.#done.splice(0, REMOVE_AT_ONCE);
      try {
        if (performance.now() - this.#lookedAt >= LOOK_AFTER_MS) this.#look();
        await this.#client.xdel(this.#options.key, ...ids);
        atReplica = false;
      } catch (error) {
        if (this.#closed) return;
        if (codeOf(error) === 'READONLY') {
          await this.#leaveReplica(ids, error, atReplica);
          atReplica = true;
          continue;
        }
        // These entries stay and become repairs that nobody needs. So there shall be no more of
        // them for a while.
        this.#refused(error);
      }
    }
  }

  /**
   * A demoted master keeps its connections and removes nothing. Behind its name or address there
   * may be another by now.
   * @param isAgain the one that the name led to since is none either
   */
  async #leaveReplica(ids: readonly string[], refusal: unknown, isAgain: boolean): Promise<void> {
    this.#done.unshift(...ids);
    this.#client.disconnect(true);
    if (!isAgain) return;
    this.#refused(refusal);
    await new Promise((resolve) => setTimeout(resolve, SUSPENDED_MS).unref());
  }

  /** One at a time: where no answer comes, the questions shall not pile up either. */
  #look(): void {
    if (this.#isLooking || this.#closed) return;
    this.#isLooking = true;
    this.#sinceLook = 0;
    this.#lookedAt = performance.now();
    const { key, maxEntries } = this.#options;
    const before = this.#sinceKnown;
    clearTimeout(this.#lookAgain);
    this.#lookAgain = setTimeout(() => this.#setFull(UNHEARD), LOOK_WITHIN_MS).unref();
    this.#client.xlen(key).then(
      (entries) => {
        this.#sinceKnown -= before;
        this.#looked(entries < maxEntries ? undefined : `it has ${counted(maxEntries, 'entry', 'entries')} or more`);
      },
      // Whether there is room is as unknown as before.
      () => this.#looked(this.#full, true),
    );
  }

  #looked(full: string | undefined, failed = false): void {
    this.#isLooking = false;
    clearTimeout(this.#lookAgain);
    if (this.#closed) return;
    const again = full !== undefined || failed;
    if (again) this.#lookAgain = setTimeout(() => this.#look(), SUSPENDED_MS).unref();
    this.#setFull(full);
  }

  #setFull(full: string | undefined): void {
    this.#full = full;
    this.#tell();
  }

  #refused(error: unknown): void {
    const code = codeOf(error);
    this.#refusedUntil = performance.now() + SUSPENDED_MS;
    if (code === 'WRONGTYPE') this.#setAside();
    this.#tell(`the source answered with the error ${code}`);
  }

  /** What else than a stream has the outbox's name, if that is one of ours. */
  #setAside(): void {
    const { key } = this.#options;
    this.#client.call('EVAL', ...setAsideForeign(key)).then(
      (reply) => {
        const { setAside } = appended(reply);
        if (setAside !== null) process.emitWarning(describeSetAside(key, 'the source', setAside), 'KeymendWarning');
      },
      // It is met again, and told, at the next write.
      () => {},
    );
  }

  /** @param refusal why the source takes no entries, if it said so */
  #tell(refusal = this.#full): void {
    const suspended = this.#full !== undefined || performance.now() < this.#refusedUntil;
    if (suspended === this.#suspended) return;
    this.#suspended = suspended;
    const { key, onState } = this.#options;
    onState(suspended ? { state: 'suspended', reason: `${key}: ${refusal}` } : { state: 'active' });
  }
}

function codeOf(error: unknown): string {
  return /^[A-Z]+\b/.exec((error as Error).message)?.[0] ?? 'ERR';
}

const UNHEARD = 'the source does not say how many entries it has';

const IN_FLIGHT: MirrorFailure = {
  outcome: 'unknown',
  error: { code: 'IN_FLIGHT', message: 'the application ended, or took long, before the target had answered' },
};
