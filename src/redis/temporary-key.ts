/** `TemporaryKey` on one server. */
import { randomUUID } from 'node:crypto';
import type { Connection } from './connection/connection.js';
import { RedisFailure } from './connection/failure.js';
import type {
  EntryRange,
  GrowthOutcome,
  PendingEntry,
  Range,
  StreamEntry,
  StreamGroup,
  StreamState,
  TemporaryKey,
} from './key-watch.js';
import { packed } from './scripts/packed.js';
import { type Script, scripts } from './scripts/script.js';
import { runForKey, scriptArguments } from './scripts/script-runner.js';
import { slotOf, tagIn } from './slots.js';

/** Longer than the budget makes a step wait, even one that is refused several times. */
export const TEMPORARY_LIFETIME_MS = 600_000;
const LIFETIME_MS = `${TEMPORARY_LIFETIME_MS}`;

/** Of an entry that a script can write: its fields and values; Lua's stack holds 8,000. */
export const LONGEST_ENTRY = 4_000;

const NO_ANSWER: ReadonlySet<string> = new Set(['CONNECTION', 'TIMEOUT']);

const STEPS = [scripts.grow, scripts.growByCopy];

type Word = Buffer | string;

export class BuiltKey implements TemporaryKey {
  readonly name: Buffer;
  #loaded: Promise<unknown> | null = null;

  readonly #open: () => Connection;
  readonly #connection: Connection;
  readonly #key: Buffer;

  /**
   * @param open makes the connection for a large string, and for what that of the watch can't do
   * @param connection that of the watch
   * @param key the watched one
   */
  constructor(open: () => Connection, connection: Connection, key: Buffer) {
    this.#open = open;
    this.#connection = connection;
    this.#key = key;
    this.name = Buffer.from(`keymend:replacement:${randomUUID()}:{${tagIn(slotOf(key))}}`);
  }

  async writeString(bytes: number, pieces: AsyncIterable<Buffer>): Promise<GrowthOutcome | RedisFailure> {
    const connection = this.#open();
    try {
      const head = ['SET', this.name];
      const reply = await connection.sendInPieces({ head, bytes, pieces, tail: ['PX', LIFETIME_MS] });
      return reply instanceof RedisFailure ? reply : 'grown';
    } finally {
      connection.close();
    }
  }

  async restore(dump: Buffer): Promise<'grown' | RedisFailure> {
    const [reply] = await this.#connection.send([['RESTORE', this.name, LIFETIME_MS, dump]]);
    return reply instanceof RedisFailure ? reply : 'grown';
  }

  appendElements(size: number, elements: readonly Buffer[]): Promise<GrowthOutcome | RedisFailure> {
    return this.#grow(size, [['RPUSH', ...elements]]);
  }

  copyElements(size: number, { start, count }: Range): Promise<GrowthOutcome | RedisFailure> {
    return this.#copy(size, `${start}`, `${start + count - 1}`);
  }

  createStream(): Promise<GrowthOutcome | RedisFailure> {
    // A stream may be empty, and then only a group brings it into being.
    return this.#grow(0, [
      ['XGROUP CREATE', 'keymend', '0', 'MKSTREAM'],
      ['XGROUP DESTROY', 'keymend'],
    ]);
  }

  async appendEntries(size: number, entries: readonly StreamEntry[]): Promise<GrowthOutcome | RedisFailure> {
    const steps: Promise<GrowthOutcome | RedisFailure>[] = [];
    let open: StreamEntry[] = [];
    const close = (end: number) => {
      if (open.length > 0)
        steps.push(
          this.#grow(
            size + end - open.length,
            open.map(({ id, fields }) => ['XADD', id, ...fields]),
          ),
        );
      open = [];
    };
    for (const [index, entry] of entries.entries()) {
      if (entry.fields.length <= LONGEST_ENTRY) {
        open.push(entry);
        continue;
      }
      close(index);
      steps.push(this.#appendLongEntry(entry));
    }
    close(entries.length);
    return (await Promise.all(steps)).find((outcome) => outcome !== 'grown') ?? 'grown';
  }

  /** By a command of its own. A key that has gone is not made anew. */
  async #appendLongEntry({ id, fields }: StreamEntry): Promise<GrowthOutcome | RedisFailure> {
    await this.#load();
    const [added, kept] = await this.#connection.send([
      ['XADD', this.name, 'NOMKSTREAM', id, ...fields],
      ['PEXPIRE', this.name, LIFETIME_MS],
    ]);
    const failure = [added, kept].find((reply) => reply instanceof RedisFailure);
    return failure ?? (added === null ? 'lost' : 'grown');
  }

  copyEntries(size: number, { after, through }: EntryRange): Promise<GrowthOutcome | RedisFailure> {
    return this.#copy(size, after, through);
  }

  deleteEntries(size: number, ids: readonly string[]): Promise<GrowthOutcome | RedisFailure> {
    return this.#grow(size, [['XDEL', ...ids]]);
  }

  trimEntries(size: number, count: number): Promise<GrowthOutcome | RedisFailure> {
    return this.#grow(size, [['XTRIM', 'MAXLEN', `${size - count}`]]);
  }

  addGroup(
    size: number,
    { name, lastDeliveredId, entriesRead, consumers }: StreamGroup,
  ): Promise<GrowthOutcome | RedisFailure> {
    const read = entriesRead === null ? [] : ['ENTRIESREAD', entriesRead];
    return this.#grow(size, [
      ['XGROUP CREATE', name, lastDeliveredId, ...read],
      ...consumers.map((consumer) => ['XGROUP CREATECONSUMER', name, consumer]),
    ]);
  }

  addPending(size: number, group: Buffer, entries: readonly PendingEntry[]): Promise<GrowthOutcome | RedisFailure> {
    return this.#grow(
      size,
      entries.map(({ id, consumer, deliveredAt, timesDelivered }) => {
        const delivery = ['TIME', `${deliveredAt}`, 'RETRYCOUNT', timesDelivered];
        return ['XCLAIM', group, consumer, '0', id, ...delivery, 'FORCE', 'JUSTID'];
      }),
    );
  }

  setStreamState(size: number, { lastGeneratedId, history }: StreamState): Promise<GrowthOutcome | RedisFailure> {
    const known = history === null ? [] : ['ENTRIESADDED', history.entriesAdded, 'MAXDELETEDID', history.maxDeletedId];
    return this.#grow(size, [['XSETID', lastGeneratedId, ...known]]);
  }

  async discard(): Promise<void> {
    const unlink = ['UNLINK', this.name] as const;
    const [reply] = await this.#connection.send([unlink]);
    if (!(reply instanceof RedisFailure) || !NO_ANSWER.has(reply.code)) return;
    // That of the watch never comes back. Left for its ten minutes, a copy of the value would stay
    // behind each attempt.
    const connection = this.#open();
    await connection.send([unlink]);
    connection.close();
  }

  #grow(size: number, commands: readonly (readonly Word[])[]): Promise<GrowthOutcome | RedisFailure> {
    return this.#step(scripts.grow, size, packed(commands.map(packed)));
  }

  #copy(size: number, from: string, to: string): Promise<GrowthOutcome | RedisFailure> {
    return this.#step(scripts.growByCopy, size, this.#key, from, to);
  }

  /**
   * A script that the server does not know yet would be sent a second time, behind steps that must
   * come after it. For no rows it does nothing, and needs no right to SCRIPT LOAD.
   */
  async #load(): Promise<void> {
    const limits = scriptArguments(this.#connection, []);
    this.#loaded ??= this.#connection.send(STEPS.map(({ source }) => ['EVAL', source, '0', ...limits]));
    await this.#loaded;
  }

  async #step(script: Script, size: number, ...args: Word[]): Promise<GrowthOutcome | RedisFailure> {
    await this.#load();
    const answer = await runForKey(this.#connection, script, [this.name, `${size}`, LIFETIME_MS, ...args]);
    return answer instanceof RedisFailure ? answer : (String(answer.cells[0]) as GrowthOutcome);
  }
}
