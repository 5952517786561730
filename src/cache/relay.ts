/** Brings planned invalidations from the outbox table to where failed writes go. */
import { setTimeout as sleep } from 'node:timers/promises';
import type { Pool, RowDataPacket } from 'mysql2/promise';
import { DAY_MS } from '../dual-write/target/mirror-options.js';
import { type RecordSink, RecordsRefusedError } from '../events/record-sink.js';
import { jittered, pauseAfter } from '../patience/pause.js';
import { requireNumber } from './fitting.js';
import { type Ask, deleteRows, OUTBOX_TABLE, type OutboxRow, takeRows } from './outbox.js';
import { guarded } from './problems.js';

export interface OutboxRelayOptions {
  /** Of the database that has the outbox. */
  readonly mysql: Pool;
  /** For example `createKafkaRecordSink`. */
  readonly sink: RecordSink;
  /** Default `keymend_outbox`. */
  readonly table?: string;
  /** Between two looks at a table that was empty, in ms. Default 100. */
  readonly pollMs?: number;
  /**
   * How long MySQL may take for one answer, in ms. Default 30,000. Rows that take longer on their
   * way through the sink are told of; those of a relay whose host is gone are free after ten times
   * that.
   */
  readonly timeoutMs?: number;
  /**
   * Told of what keeps rows from going on; they stay, and are tried again. Default: a warning of
   * the process.
   */
  readonly onProblem?: (error: Error) => void;
}

export interface OutboxRelay {
  /** Ends behind the rows under way. Those that are left go with the next relay. */
  stop(): Promise<void>;
}

const ROWS_AT_ONCE = 500;
const PAUSES = { firstMs: 100, longestMs: 5_000 };

/**
 * Starts a relay. Several may run at once: each takes rows that no other holds (SKIP LOCKED).
 * One that dies between the sink and its commit leaves the rows, which then come twice, with the
 * same ids.
 * @throws RangeError when no timer could wait for so long
 */
export function startOutboxRelay(options: OutboxRelayOptions): OutboxRelay {
  const { pollMs = 100, table = OUTBOX_TABLE, timeoutMs = 30_000 } = options;
  for (const [name, value, least] of [
    ['pollMs', pollMs, 0],
    ['timeoutMs', timeoutMs, 1],
  ] as const) {
    requireNumber(`the relay of ${table}`, name, value, { least, most: DAY_MS });
  }
  const warn = ({ message }: Error) => process.emitWarning(`the relay of ${table}: ${message}`, 'KeymendWarning');
  const onProblem = guarded(options.onProblem ?? warn);
  const end = new AbortController();
  const pause = (ms: number) => sleep(ms, undefined, { signal: end.signal }).catch(() => {});
  /**
   * By `seq`, rows whose records the sink never takes. They stay in the table, and hold up no
   * other.
   */
  const refused = new Set<string>();
  const running = (async () => {
    for (let failures = 0; !end.signal.aborted; ) {
      try {
        const once = relayOnce({ ...options, table, timeoutMs, onProblem }, refused);
        const taken = await toldWhenLate(once, timeoutMs, onProblem);
        failures = 0;
        if (taken < ROWS_AT_ONCE) await pause(pollMs);
      } catch (error) {
        failures += 1;
        onProblem(error as Error);
        await pause(jittered(pauseAfter(failures, PAUSES)));
      }
    }
  })();
  return {
    async stop() {
      end.abort();
      await running;
    },
  };
}

/** Nobody else says that a sink, or the pool, does not answer. */
async function toldWhenLate<T>(round: Promise<T>, ms: number, onProblem: (error: Error) => void): Promise<T> {
  const late = () => onProblem(new Error(`a round takes longer than ${ms} ms; see that MySQL and the sink answer`));
  const timer = setInterval(late, ms);
  try {
    return await round;
  } finally {
    clearInterval(timer);
  }
}

type RoundOptions = Required<Pick<OutboxRelayOptions, 'mysql' | 'sink' | 'table' | 'timeoutMs' | 'onProblem'>>;

/**
 * Relays what is there, up to a few hundred rows.
 * @returns how many
 */
async function relayOnce(options: RoundOptions, refused: Set<string>): Promise<number> {
  const { mysql, table, timeoutMs: timeout } = options;
  const transaction = await mysql.getConnection();
  const ask: Ask = async (question) => (await transaction.query<RowDataPacket[]>({ ...question, timeout }))[0];
  try {
    // Else the end of the table is locked while the sink works, and no write of the application
    // could add its row.
    await ask({ sql: 'SET TRANSACTION ISOLATION LEVEL READ COMMITTED' });
    await ask({ sql: 'START TRANSACTION' });
    const rows = await takeRows(ask, { table, most: ROWS_AT_ONCE, but: refused });
    if (rows.length > 0) await relayRows(ask, rows, options, refused);
    await ask({ sql: 'COMMIT' });
    if (rows.length > 0) await ask({ sql: 'SET SESSION wait_timeout = @keymend_wait_timeout' });
    transaction.release();
    return rows.length;
  } catch (error) {
    // Ends its transaction there, whatever state it is in.
    transaction.destroy();
    throw error;
  }
}

/** Deletes rows in the transaction that holds them, once the sink has their records. */
async function relayRows(
  ask: Ask,
  rows: readonly OutboxRow[],
  { sink, table, timeoutMs, onProblem }: RoundOptions,
  refused: Set<string>,
): Promise<void> {
  // Of a host that is gone while the sink works, MySQL would hold the rows for hours.
  const seconds = Math.ceil(timeoutMs / 100);
  await ask({ sql: `SET @keymend_wait_timeout = @@SESSION.wait_timeout, SESSION wait_timeout = ${seconds}` });
  // Before they are told of: where that is refused (a right, `binlog_format=STATEMENT`), the
  // same ones would be published again and again.
  await ask({ sql: 'SAVEPOINT taken' });
  await deleteRows(ask, table, rows);
  const problem = await published(sink, rows);
  if (problem === undefined) return;
  // By their ids, for a sink may name copies. Where it names nothing that was sent, all stay.
  const ids = new Set(problem.records.map(({ id }) => id));
  const named = rows.filter(({ record }) => ids.has(record.id));
  const stay = named.length > 0 ? named : rows;
  // They stay locked, so that no other relay takes them in between.
  await ask({ sql: 'ROLLBACK TO SAVEPOINT taken' });
  await deleteRows(
    ask,
    table,
    rows.filter((row) => !stay.includes(row)),
  );
  for (const { seq } of stay) refused.add(seq);
  onProblem(stays(problem, table));
}

/** @returns what the sink never takes */
async function published(sink: RecordSink, rows: readonly OutboxRow[]): Promise<RecordsRefusedError | undefined> {
  try {
    await sink.publish(rows.map(({ record }) => record));
    return undefined;
  } catch (error) {
    if (error instanceof RecordsRefusedError) return error;
    throw error;
  }
}

function stays(problem: RecordsRefusedError, table: string): Error {
  const more = `it stays in ${table}, and this relay asks for it no more`;
  return new Error(`${problem.message}; ${more}`, { cause: problem });
}
