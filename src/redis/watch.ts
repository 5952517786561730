/** `KeyWatch` on one server: WATCH, reads of ranges, and one EXEC at the end. */
import { type Command, type Connection, isMaster } from './connection/connection.js';
import { failureOf, RedisFailure } from './connection/failure.js';
import { expiryDigits, NO_EXPIRY } from './key-state.js';
import type {
  Cost,
  EntryRange,
  KeyWatch,
  PendingDigest,
  PendingEntry,
  Range,
  RangeDigest,
  StreamEntry,
  StreamGroup,
  StreamRangeDigest,
  StreamState,
  TemporaryKey,
  WatchedChange,
  WatchedOutcome,
  WatchedState,
} from './key-watch.js';
import type { ScriptReply } from './scripts/operations.js';
import { type Cells, type Row, type Script, scripts } from './scripts/script.js';
import { failureIn, type RowAnswer, runForKey, scriptArguments } from './scripts/script-runner.js';
import { BuiltKey, LONGEST_ENTRY } from './temporary-key.js';
import { serverName } from './topologies/server-name.js';
import { markOf } from './writer-mark.js';

/** As lua/large/behind.lua has it. */
const GREATEST_ID = '18446744073709551615-18446744073709551615';

/** Of a list, however small they are. */
const ELEMENTS_PER_RANGE = 256;

/**
 * A server may close what is idle (`timeout`), and a watch is while a value travels on other
 * connections or waits for the budget.
 */
const KEEP_ALIVE_MS = 1_000;

/** A connection that is never made anew. */
type OpenConnection = () => Connection;

/** @param open makes the connection of the watch, and those for writing large strings beside it */
export async function watchKey(open: OpenConnection, key: Buffer): Promise<KeyWatch | RedisFailure> {
  const connection = open();
  const [watching, info, replication] = await connection.send([
    ['WATCH', key],
    ['INFO', 'server'],
    ['INFO', 'replication'],
  ]);
  const server = watching instanceof RedisFailure ? watching : serverName(info, replication, connection.database);
  const state = server instanceof RedisFailure ? server : await runForKey(connection, scripts.watched, [key]);
  if (server instanceof RedisFailure || state instanceof RedisFailure) {
    connection.close();
    return state as RedisFailure;
  }
  const [type, expiry, size, groups] = state.cells;
  return new ServerKeyWatch({
    ...{ open, connection, key, server, groups: String(groups), serverTimeMs: state.serverTimeMs },
    state: { type: String(type), expiry: Number(expiry), size: Number(size) },
  });
}

interface Begun {
  readonly open: OpenConnection;
  readonly connection: Connection;
  readonly key: Buffer;
  /** What WATCH does not see, see lua/large/groups.lua. */
  readonly groups: string;
  readonly server: string;
  readonly serverTimeMs: number;
  readonly state: WatchedState;
}

class ServerKeyWatch implements KeyWatch {
  readonly server: string;
  readonly serverTimeMs: number;
  readonly state: WatchedState;
  readonly #open: OpenConnection;
  readonly #connection: Connection;
  /** It, and those of its temporary keys. */
  readonly #used: Connection[];
  readonly #key: Buffer;
  readonly #groups: string;
  /** Of a write, in ms of this server's clock. */
  #deadline: number | null = null;
  readonly #keepingAlive: NodeJS.Timeout;

  constructor({ open, connection, key, groups, server, serverTimeMs, state }: Begun) {
    this.#open = open;
    this.#connection = connection;
    this.#used = [connection];
    this.#key = key;
    this.#groups = groups;
    this.server = server;
    this.serverTimeMs = serverTimeMs;
    this.state = state;
    this.#keepingAlive = setInterval(() => void connection.send([['PING']]), KEEP_ALIVE_MS).unref();
  }

  get cost(): Cost {
    const [operations, bytes] = [sum(this.#used, 'operations'), sum(this.#used, 'bytes')];
    return { operations, bytes };
  }

  async digestString({ start, count }: Range): Promise<RangeDigest | RedisFailure> {
    const answer = await this.#run(scripts.digestString, `${start}`, `${start + count - 1}`);
    if (answer instanceof RedisFailure) return answer;
    const [bytes, digest] = answer.cells;
    return { count: Number(bytes), bytes: Number(bytes), digest: String(digest) };
  }

  async readString({ start, count }: Range): Promise<Buffer | RedisFailure> {
    return (await this.#send('GETRANGE', this.#key, `${start}`, `${start + count - 1}`)) as Buffer | RedisFailure;
  }

  async digestList({ start, count }: Range): Promise<RangeDigest | RedisFailure> {
    const answer = await this.#run(scripts.digestList, `${start}`, `${Math.min(count, ELEMENTS_PER_RANGE)}`);
    return answer instanceof RedisFailure ? answer : rangeDigest(answer.cells);
  }

  async readList({ start, count }: Range): Promise<Buffer[] | RedisFailure> {
    return (await this.#send('LRANGE', this.#key, `${start}`, `${start + count - 1}`)) as Buffer[] | RedisFailure;
  }

  async digestStream({
    after,
    through,
    count,
  }: EntryRange & { count: number }): Promise<StreamRangeDigest | RedisFailure> {
    const answer = await this.#run(scripts.digestStream, after, through, `${count}`);
    if (answer instanceof RedisFailure) return answer;
    const [, , , last, longest] = answer.cells;
    return { ...rangeDigest(answer.cells), last: String(last), isCopyable: Number(longest) <= LONGEST_ENTRY };
  }

  async readStream({ after, through }: EntryRange): Promise<StreamEntry[] | RedisFailure> {
    // Behind it there is nothing, and Redis knows no such range.
    if (after === GREATEST_ID) return [];
    const reply = await this.#send('XRANGE', this.#key, `(${after}`, through);
    if (reply instanceof RedisFailure) return reply;
    return (reply as [Buffer, Buffer[]][]).map(([id, fields]) => ({ id: String(id), fields }));
  }

  async readStreamState(): Promise<StreamState | RedisFailure> {
    const [stream, groups] = await this.#connection.send([
      ['XINFO', 'STREAM', this.#key],
      ['XINFO', 'GROUPS', this.#key],
    ]);
    if (stream instanceof RedisFailure) return stream;
    if (groups instanceof RedisFailure) return groups;
    const found = (groups as unknown[][]).map(named);
    const consumers = await this.#connection.send(
      found.map((group) => ['XINFO', 'CONSUMERS', this.#key, group.get('name') as Buffer]),
    );
    const failed = consumers.find((reply) => reply instanceof RedisFailure);
    if (failed !== undefined) return failed as RedisFailure;
    const fields = named(stream as unknown[]);
    const entriesAdded = fields.get('entries-added');
    const first = fields.get('first-entry') as [Buffer, ...unknown[]] | null;
    return {
      firstId: first === null ? null : String(first[0]),
      lastGeneratedId: String(fields.get('last-generated-id')),
      history:
        entriesAdded === undefined
          ? null
          : { entriesAdded: String(entriesAdded), maxDeletedId: String(fields.get('max-deleted-entry-id')) },
      groups: found.map((group, index) => streamGroup(group, consumers[index] as unknown[][])),
    };
  }

  async digestPending(group: Buffer, after: string): Promise<PendingDigest | RedisFailure> {
    const answer = await this.#run(scripts.digestPending, group, after);
    if (answer instanceof RedisFailure) return answer;
    const [count, digest, last] = answer.cells;
    return { count: Number(count), digest: String(digest), last: String(last) };
  }

  async readPending(group: Buffer, after: string): Promise<PendingEntry[] | RedisFailure> {
    const answer = await this.#run(scripts.readPending, group, after);
    if (answer instanceof RedisFailure) return answer;
    const { cells, serverTimeMs } = answer;
    return Array.from({ length: cells.length / 5 }, (_, index) => {
      const [id, consumer, idleMs, timesDelivered, exists] = cells.slice(5 * index);
      return {
        id: String(id),
        consumer: consumer as Buffer,
        deliveredAt: serverTimeMs - Number(idleMs),
        timesDelivered: String(timesDelivered),
        exists: Number(exists) === 1,
      };
    });
  }

  async unchanged({ atMaster = false } = {}): Promise<boolean | RedisFailure> {
    // Beside the transaction: within it, a server out of memory refuses even what only reads.
    const ask = this.#evaluate(scripts.watched, [this.#key]);
    const replies = await this.#connection.send([ask, ['MULTI'], ['EXEC'], ['ROLE']]);
    const failure = replies.find((reply) => reply instanceof RedisFailure);
    if (failure !== undefined) return failure as RedisFailure;
    const [answer, , executed, role] = replies;
    if (executed === null) return false;
    if (atMaster && !isMaster(role)) return this.#connection.notMaster;
    const cells = firstRow(answer);
    return cells instanceof RedisFailure ? cells : String(cells[3]) === this.#groups;
  }

  temporaryKey(): TemporaryKey {
    const open = () => {
      const further = this.#open();
      this.#used.push(further);
      return further;
    };
    return new BuiltKey(open, this.#connection, this.#key);
  }

  async boundWrite(): Promise<'bounded' | RedisFailure> {
    const time = await this.#send('TIME');
    if (time instanceof RedisFailure) return time;
    const [seconds, micros] = time as [Buffer, Buffer];
    this.#deadline = Number(seconds) * 1000 + Math.floor(Number(micros) / 1000) + this.#connection.commandTimeoutMs;
    return 'bounded';
  }

  async write(change: WatchedChange): Promise<WatchedOutcome | RedisFailure> {
    const bounded = this.#deadline === null ? await this.boundWrite() : 'bounded';
    if (bounded instanceof RedisFailure) return bounded;
    // Within the transaction it would be one of its commands.
    clearInterval(this.#keepingAlive);
    const replies = await this.#transact(
      this.#evaluate(scripts.swap, [
        this.#key,
        this.#groups,
        `${this.#deadline}`,
        change.action,
        expiryDigits(change.action === 'delete' ? NO_EXPIRY : change.expiry),
        change.action === 'replace' ? change.temporary.name : '',
        markOf(this.#key),
      ]),
    );
    if (replies === null || replies instanceof RedisFailure) return replies ?? 'changed';
    const cells = firstRow(replies[0]);
    return cells instanceof RedisFailure ? cells : (String(cells[0]) as WatchedOutcome);
  }

  close(): void {
    clearInterval(this.#keepingAlive);
    this.#connection.close();
  }

  async #send(...command: Command): Promise<unknown> {
    const [reply] = await this.#connection.send([command]);
    return reply;
  }

  #run(script: Script, ...args: (Buffer | string)[]): Promise<RowAnswer | RedisFailure> {
    return runForKey(this.#connection, script, [this.#key, ...args]);
  }

  /** By its source: a NOSCRIPT inside a transaction would come too late to go on. */
  #evaluate(script: Script, row: Row): Command {
    return ['EVAL', script.source, '0', ...scriptArguments(this.#connection, [row])];
  }

  /**
   * @returns the replies; null when the key was written since the watch began, and nothing was
   *   executed
   */
  async #transact(...commands: Command[]): Promise<unknown[] | null | RedisFailure> {
    // Alone, and first: where it is refused, what is sent behind it would run with no fence.
    const [begun] = await this.#connection.send([['MULTI']]);
    if (begun instanceof RedisFailure) return begun;
    const replies = await this.#connection.send([...commands, ['EXEC']]);
    // Why EXEC discards a transaction is what the command said that was refused.
    const failure = replies.find((reply) => reply instanceof RedisFailure);
    if (failure !== undefined) return failure as RedisFailure;
    const executed = replies.at(-1) as unknown[] | null;
    const failed = executed?.find((reply) => reply instanceof Error);
    return failed === undefined ? executed : failureOf(failed);
  }
}

function sum(used: readonly Connection[], what: keyof Cost): number {
  return used.reduce((total, connection) => total + connection[what], 0);
}

/** Of what a script answered inside a transaction. */
function firstRow(answer: unknown): Cells | RedisFailure {
  const cells = (answer as ScriptReply)[2] as Cells;
  return failureIn(cells) ?? cells;
}

function rangeDigest([count, bytes, digest]: Cells): RangeDigest {
  return { count: Number(count), bytes: Number(bytes), digest: String(digest) };
}

function streamGroup(group: Map<string, unknown>, consumers: unknown[][]): StreamGroup {
  const entriesRead = group.get('entries-read') ?? null;
  return {
    name: group.get('name') as Buffer,
    lastDeliveredId: String(group.get('last-delivered-id')),
    entriesRead: entriesRead === null ? null : String(entriesRead),
    consumers: consumers.map((consumer) => named(consumer).get('name') as Buffer),
  };
}

/** A map as RESP 2 has it: names and values in turn. */
function named(flat: unknown[]): Map<string, unknown> {
  return new Map(Array.from({ length: flat.length / 2 }, (_, index) => [String(flat[2 * index]), flat[2 * index + 1]]));
}
