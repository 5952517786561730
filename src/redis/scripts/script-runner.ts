/**
 * How a script is run for many keys on one server. A topology of many servers runs one per server.
 */
import { type Command, type Connection, isMaster } from '../connection/connection.js';
import { failureOfReply, RedisFailure } from '../connection/failure.js';
import { costOf, type ScriptReply } from './operations.js';
import type { Cells, Row, Script } from './script.js';

/** What a script said about one row. */
export interface RowAnswer {
  readonly cells: Cells;
  /** The server's clock when the script began, in ms since the epoch. */
  readonly serverTimeMs: number;
  /** As `Connection.server`. */
  readonly server: object;
  /** `performance.now()` when the answer had arrived here. */
  readonly receivedAtMs: number;
}

/**
 * Is told what a call has cost the server: operations, in the unit of INFO commandstats, `null`
 * when nobody knows, because the answer was lost; and bytes, to it and from it.
 */
export type CountCost = (operations: number | null, bytes: number) => void;

export interface RunOptions {
  /**
   * Also asks for the role, behind the script on the same connection: a server that was demoted
   * before the script ran then says so; asked ahead of it, one demoted in between would pass.
   */
  readonly atMaster?: boolean;
  /** The only one that it may be sent to, as `Connection.server`. */
  readonly server?: object | undefined;
  readonly count?: CountCost | undefined;
}

const ERROR = Buffer.from('error');

const MOST_ARGUMENT_BYTES = 1024 * 1024;

/**
 * Runs a script once, by its SHA, and by its source where the server does not know it (nothing was
 * executed then). Never rejects.
 * @returns one answer per row, in order; `deferred` for rows that are left for a further call
 */
export async function runScript(
  connection: Connection,
  script: Script,
  rows: readonly Row[],
  { atMaster = false, server, count }: RunOptions = {},
): Promise<(RowAnswer | 'deferred' | RedisFailure)[]> {
  const args = scriptArguments(connection, rows.slice(0, fitting(rows)));
  const run = async (command: string, body: string) => {
    const commands: Command[] = [[command, body, '0', ...args], ...(atMaster ? [['ROLE'] as Command] : [])];
    const replies = await connection.send(commands, server);
    if (count !== undefined) for (const [index, each] of replies.entries()) count(...costOf(commands[index]!, each));
    return replies;
  };
  let [reply, role] = await run('EVALSHA', script.sha);
  if (reply instanceof RedisFailure && reply.code === 'NOSCRIPT') [reply, role] = await run('EVAL', script.source);
  const [{ server: answeredBy }, receivedAtMs] = [connection, performance.now()];

  const failed = [reply, role].find((each) => each instanceof RedisFailure);
  // The others did nothing wrong, and nothing was executed.
  if (failed instanceof RedisFailure && failed.code === 'TOOBIG' && rows.length > 1) {
    return eachAlone(connection, script, rows, { atMaster, server, count });
  }
  if (failed instanceof RedisFailure) {
    const failure = ofClock(failed);
    return rows.map(() => failure);
  }
  if (atMaster && !isMaster(role)) {
    const failure = connection.notMaster;
    return rows.map(() => failure);
  }
  const [serverTime, , ...answers] = reply as ScriptReply;
  const serverTimeMs = Number(serverTime);
  const told = (cells: Cells): RowAnswer => ({ cells, serverTimeMs, server: answeredBy, receivedAtMs });
  return rows.map((_, index) => {
    const answer = answers[index];
    if (answer === undefined) return 'deferred';
    if (answer instanceof Buffer) return told([answer]);
    const cells = answer as Cells;
    return failureIn(cells) ?? told(cells);
  });
}

/**
 * What a script of ours does before its first row, and so without catching errors, is to look at
 * the clock.
 */
function ofClock(failure: RedisFailure): RedisFailure {
  const { code, message, refused } = failure;
  if (!/script/.test(message) || !/^EVAL/.test(refused.command ?? '')) return failure;
  return new RedisFailure(code, message, { cause: failure, refused: { command: 'TIME' } });
}

async function eachAlone(connection: Connection, script: Script, rows: readonly Row[], options: RunOptions) {
  const answers: (RowAnswer | 'deferred' | RedisFailure)[] = [];
  for (const row of rows) answers.push(...(await runScript(connection, script, [row], options)));
  return answers;
}

/** How many rows one call may carry: a server takes in all of it at once. */
function fitting(rows: readonly Row[]): number {
  let bytes = 0;
  const beyond = rows.findIndex((row, index) => {
    for (const each of row) bytes += each.length;
    return index > 0 && bytes > MOST_ARGUMENT_BYTES;
  });
  return beyond < 0 ? rows.length : beyond;
}

/** What stands behind the number of keys when a script is called. */
export function scriptArguments({ largeValues }: Connection, rows: readonly Row[]): (Buffer | string)[] {
  const args: (Buffer | string)[] = [`${largeValues.elements}`, `${largeValues.bytes}`];
  // Not flat(): a batch has thousands of them.
  for (const row of rows) args.push(...row);
  return args;
}

/** `runScript` for one row. */
export async function runForKey(
  connection: Connection,
  script: Script,
  row: Row,
  options?: RunOptions,
): Promise<RowAnswer | RedisFailure> {
  const [answer] = await runScript(connection, script, [row], options);
  // A script always takes the first row.
  return answer as RowAnswer | RedisFailure;
}

/** Why the script could not do one row, if so. */
export function failureIn([head, text, command, own, wrote]: Cells): RedisFailure | null {
  if (!(head instanceof Buffer && head.equals(ERROR))) return null;
  const refused = { command: String(command), onOwnKey: String(own) === 'own', hasWritten: String(wrote) === 'wrote' };
  return failureOfReply(String(text), refused);
}
