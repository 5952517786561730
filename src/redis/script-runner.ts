/** How a script is run for many keys on one server. A topology of many servers runs one per server. */
import type { Command, Connection } from './connection.js';
import { failureOfReply, RedisFailure } from './failure.js';
import type { Cells, Row, Script } from './script.js';

/** What a script said about one row. */
export interface RowAnswer {
  readonly cells: Cells;
  /** The server's clock when the script began, in ms since the epoch. */
  readonly serverTimeMs: number;
  /** `performance.now()` when the answer had arrived here. */
  readonly receivedAtMs: number;
}

const ERROR = Buffer.from('error');

/**
 * Runs a script once, by its SHA, and by its source where the server does not know it (nothing was executed then).
 * Never rejects.
 * @param atMaster also asks for the role, behind the script on the same connection: a server that was demoted before
 *   the script ran then says so; asked ahead of it, one demoted in between would pass
 * @returns one answer per row, in order; `deferred` for rows that the script left for a further call
 */
export async function runScript(
  connection: Connection,
  script: Script,
  rows: readonly Row[],
  { atMaster = false } = {},
): Promise<(RowAnswer | 'deferred' | RedisFailure)[]> {
  const { elements, bytes } = connection.largeValues;
  const args = [`${elements}`, `${bytes}`, ...rows.flat()];
  const run = (command: string, body: string) =>
    connection.send([[command, body, '0', ...args], ...(atMaster ? [['ROLE'] as Command] : [])]);
  let [reply, role] = await run('EVALSHA', script.sha);
  if (reply instanceof RedisFailure && reply.code === 'NOSCRIPT') [reply, role] = await run('EVAL', script.source);
  const receivedAtMs = performance.now();

  const failed = [reply, role].find((each) => each instanceof RedisFailure);
  if (failed !== undefined) return rows.map(() => failed);
  if (atMaster && !isMaster(role)) {
    const failure = new RedisFailure('NOTMASTER', 'not a master');
    return rows.map(() => failure);
  }
  const [serverTimeMs, ...answers] = reply as [number, ...Cells[]];
  return rows.map((_, index) => {
    const cells = answers[index];
    if (cells === undefined) return 'deferred';
    const [head, text] = cells;
    if (head instanceof Buffer && head.equals(ERROR)) return failureOfReply(String(text));
    return { cells, serverTimeMs, receivedAtMs };
  });
}

/** @param role the reply of ROLE */
export function isMaster(role: unknown): boolean {
  return Array.isArray(role) && String(role[0]) === 'master';
}
