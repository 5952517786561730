/**
 * The options of SET and its like. A time to live that starts anew on the target would end later there, by as much as the
 * mirror is late, so it becomes the time at which it ends.
 */
import type { Argument } from '../../../commands/arguments.js';

export interface Options {
  /** What the target shall be sent: how long the key lives, in absolute times. */
  readonly kept: readonly Argument[];
  /** Upper case: what decided whether the source wrote (NX, XX, IFEQ, …), and GET. */
  readonly conditions: ReadonlySet<string>;
}

const EXPIRY: Readonly<Record<string, number>> = { EX: 1000, PX: 1 };
const EXPIRY_AT: ReadonlySet<string> = new Set(['EXAT', 'PXAT']);
const KEPT: ReadonlySet<string> = new Set(['KEEPTTL', 'PERSIST']);
const CONDITION: ReadonlySet<string> = new Set(['NX', 'XX', 'FNX', 'FXX', 'GET']);
const COMPARISON: ReadonlySet<string> = new Set(['IFEQ', 'IFNE', 'IFDEQ', 'IFDNE']);

/**
 * Reads `args` from `from` up to `to`, exclusive.
 * @returns undefined when there is an option that is not known
 */
export function readOptions(args: readonly Argument[], from: number, to: number, nowMs: number): Options | undefined {
  const kept: Argument[] = [];
  const conditions = new Set<string>();
  for (let index = from; index < to; index++) {
    const word = args[index]!.toString().toUpperCase();
    const unitMs = EXPIRY[word];
    if (unitMs !== undefined) kept.push('PXAT', absolute(args[++index]!, unitMs, nowMs));
    else if (EXPIRY_AT.has(word)) kept.push(word, args[++index]!);
    else if (KEPT.has(word)) kept.push(word);
    else if (CONDITION.has(word)) conditions.add(word);
    else if (COMPARISON.has(word)) {
      conditions.add(word);
      index += 1;
    } else return undefined;
  }
  return { kept, conditions };
}

/** The end of a time to live that began at `nowMs`, in ms since the epoch. */
export function absolute(timeToLive: Argument, unitMs: number, nowMs: number): string {
  return String(nowMs + Number(timeToLive) * unitMs);
}

/** EXPIRE, PEXPIRE, HEXPIRE, … by the commands that take a time: (H)PEXPIREAT; those that do already, as they are. */
export function expireAt(command: string, time: Argument, nowMs: number): { command: string; time: Argument } {
  if (command.endsWith('AT')) return { command, time };
  const inMs = command.endsWith('PEXPIRE');
  return {
    command: `${command.slice(0, -(inMs ? 'PEXPIRE' : 'EXPIRE').length)}PEXPIREAT`,
    time: absolute(time, inMs ? 1 : 1000, nowMs),
  };
}
