/**
 * Planned invalidations in a table of the database itself: they are durable exactly when the write
 * is, whatever dies behind its commit.
 */
import type { PoolConnection, QueryOptions, RowDataPacket } from 'mysql2/promise';
import type { FailedWrite } from '../../workflows/failed-write.js';
import { newRecordId } from '../dual-write/records/record-id.js';
import { encodeKey } from '../events/failed-write-codec.js';

/** Its default name. */
export const OUTBOX_TABLE = 'keymend_outbox';

/**
 * The statement that makes the table.
 * @throws Error when the name can't be one
 */
export function outboxTable(table: string = OUTBOX_TABLE): string {
  return `CREATE TABLE IF NOT EXISTS ${quoted(table)} (
  seq BIGINT UNSIGNED NOT NULL AUTO_INCREMENT PRIMARY KEY,
  id CHAR(26) CHARACTER SET ascii NOT NULL,
  link VARCHAR(64) CHARACTER SET ascii NOT NULL,
  cache_key MEDIUMBLOB NOT NULL,
  written_at BIGINT UNSIGNED NOT NULL COMMENT 'ms since the epoch'
) ENGINE=InnoDB`;
}

function quoted(table: string): string {
  if (!/^\w{1,64}(\.\w{1,64})?$/.test(table))
    throw new Error('the name of the outbox table must be letters, digits or _');
  return table
    .split('.')
    .map((part) => `\`${part}\``)
    .join('.');
}

interface Place {
  readonly table: string;
  readonly link: string;
}

/** Inside the transaction of the write. */
export async function recordInvalidations(
  transaction: PoolConnection,
  { table, link }: Place,
  keys: readonly Buffer[],
): Promise<void> {
  const now = Date.now();
  // By bytes as hex digits: which characters escape in a text is a setting of the server.
  const rows = keys.map((key) => `('${newRecordId()}', ?, X'${key.toString('hex')}', ${now})`);
  const sql = `INSERT INTO ${quoted(table)} (id, link, cache_key, written_at) VALUES ${rows.join(', ')}`;
  await transaction.query(
    sql,
    keys.map(() => link),
  );
}

export interface OutboxRow {
  readonly seq: string;
  readonly record: FailedWrite;
}

/** Asks one question in a transaction. */
export type Ask = (question: QueryOptions) => Promise<RowDataPacket[]>;

interface Wanted {
  readonly table: string;
  readonly most: number;
  /** By `seq`, those that are left alone. */
  readonly but: ReadonlySet<string>;
}

/** The oldest rows that no other relay holds, locked until the transaction ends. */
export async function takeRows(ask: Ask, { table, most, but }: Wanted): Promise<OutboxRow[]> {
  const others = but.size === 0 ? '' : `WHERE seq NOT IN (${[...but].join(', ')}) `;
  // By the column, for as a text 10 comes before 9.
  const sql =
    `SELECT CAST(seq AS CHAR) AS seq, id, link, HEX(cache_key) AS cacheKey, CAST(written_at AS CHAR) AS writtenAt ` +
    `FROM ${quoted(table)} ${others}ORDER BY ${quoted(table)}.seq LIMIT ${most} FOR UPDATE SKIP LOCKED`;
  // Whatever the application's pool makes of rows and columns: these are texts by name.
  const typeCast: QueryOptions['typeCast'] = (field) => field.string('utf8');
  const rows = await ask({ sql, rowsAsArray: false, nestTables: false, typeCast });
  return rows.map(({ seq, id, link, cacheKey, writtenAt }) => ({
    seq,
    record: {
      specVersion: 1,
      id,
      link,
      ...encodeKey(Buffer.from(cacheKey, 'hex')),
      command: 'DEL',
      outcome: 'unknown',
      failedAt: new Date(Number(writtenAt)).toISOString(),
    },
  }));
}

/** Rows in one statement: a server goes down a union by its stack. */
const DELETED_AT_ONCE = 100;

/**
 * Nothing is skipped here. By `seq IN (…)` a server may go through the whole table, as that seems
 * cheaper, and waits for each write that is not committed yet. So it is led from each number to its
 * row.
 */
export async function deleteRows(ask: Ask, table: string, rows: readonly OutboxRow[]): Promise<void> {
  for (let first = 0; first < rows.length; first += DELETED_AT_ONCE) {
    const some = rows.slice(first, first + DELETED_AT_ONCE);
    const numbers = some.map(({ seq }) => `SELECT CAST(${seq} AS UNSIGNED) AS seq`).join(' UNION ALL ');
    // Without a name of its own, which would be one of the default database.
    const outbox = quoted(table);
    const joined = `STRAIGHT_JOIN ${outbox} FORCE INDEX (PRIMARY) ON ${outbox}.seq = taken.seq`;
    await ask({ sql: `DELETE ${outbox} FROM (${numbers}) AS taken ${joined}` });
  }
}
