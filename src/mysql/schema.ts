/** What of the tables behind the mappings of a link is worth a warning. */
import type { FieldPacket } from 'mysql2/promise';
import type { LinkConfig } from '../config.js';
import { explained, RedisFailure } from '../redis/index.js';
import { Database } from './database.js';

const WHAT = 'a look at its tables';

/**
 * Asks by SHOW, for information_schema keeps keys from a user who may only SELECT.
 * @returns one line each; none for a link of two Redis
 * @throws Error in one line where it can't be asked
 */
export async function schemaWarnings(
  { name, source, mappings = [] }: LinkConfig,
  timeoutMs: number,
): Promise<string[]> {
  if (!('mysql' in source)) return [];
  const database = new Database(source.mysql, { name: `source of link ${name}`, timeoutMs });
  const rowsOf = async (sql: string, what: string) => {
    const table = await database.query(sql, what);
    if (table instanceof RedisFailure) throw explained(table, database.place);
    return table;
  };
  const hasKey = async (table: string): Promise<boolean> => {
    const { rows: tables } = await rowsOf(`SHOW FULL TABLES WHERE Table_type = 'BASE TABLE'`, WHAT);
    if (!tables.some(([known]) => String(known) === table)) return true;
    const { rows } = await rowsOf(`SHOW KEYS FROM \`${table.replaceAll('`', '``')}\` WHERE Key_name = 'PRIMARY'`, WHAT);
    return rows.length > 0;
  };
  try {
    const warnings: string[] = [];
    for (const { pattern, statement } of mappings) {
      if (pattern.unclear !== undefined) warnings.push(`mapping ${pattern.text} ${pattern.unclear}`);
      const { columns } = await rowsOf(statement.sqlForNone, `the query of mapping ${pattern.text}`);
      for (const table of tablesOf(columns)) {
        if (await hasKey(table)) continue;
        const why =
          'which has no primary key: two rows may be of one key, and then no row is the right one; give the table one';
        warnings.push(`mapping ${pattern.text} reads table ${table}, ${why}`);
      }
    }
    return warnings;
  } finally {
    await database.close();
  }
}

/** Whose columns they are, under their own names. */
function tablesOf(columns: readonly FieldPacket[]): Set<string> {
  return new Set(columns.map(({ orgTable }) => orgTable).filter(Boolean));
}
