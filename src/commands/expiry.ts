/**
 * How commands say when a key or a field ends: the family of EXPIRE, and the options of SET and its
 * like.
 */
import type { Argument } from './arguments.js';
import { knownCommand } from './command.js';
import { AT_MS, AT_SECONDS, IN_MS, IN_SECONDS, type TimeForm } from './table.js';

/** When something ends, as a command says it. */
interface Expiry extends TimeForm {
  readonly time: Argument;
}

export interface ExpiryOptions {
  /** What EX, PX, EXAT or PXAT says. The last one counts, as for Redis. */
  readonly expiry: Expiry | undefined;
  /** What stands in its place otherwise. */
  readonly word: 'KEEPTTL' | 'PERSIST' | undefined;
  /** Upper case: what decided whether the server wrote (NX, XX, IFEQ, …), and GET. */
  readonly conditions: ReadonlySet<string>;
}

const TIMES: ReadonlyMap<string, TimeForm> = new Map([
  ['EX', IN_SECONDS],
  ['PX', IN_MS],
  ['EXAT', AT_SECONDS],
  ['PXAT', AT_MS],
]);
const CONDITIONS: ReadonlySet<string> = new Set(['NX', 'XX', 'FNX', 'FXX', 'GET']);
/** With what to compare stands behind each. */
const COMPARISONS: ReadonlySet<string> = new Set(['IFEQ', 'IFNE', 'IFDEQ', 'IFDNE']);

/**
 * Reads the options in `args` from `from` up to `to`, exclusive.
 * @returns undefined when there is an option that is not known
 */
export function readExpiryOptions(args: readonly Argument[], from: number, to: number): ExpiryOptions | undefined {
  let expiry: Expiry | undefined;
  let word: ExpiryOptions['word'];
  const conditions = new Set<string>();
  for (let index = from; index < to; index++) {
    const option = args[index]!.toString().toUpperCase();
    const form = TIMES.get(option);
    if (form !== undefined) {
      index += 1;
      expiry = { ...form, time: args[index]! };
    } else if (option === 'KEEPTTL' || option === 'PERSIST') word = option;
    else if (CONDITIONS.has(option)) conditions.add(option);
    else if (COMPARISONS.has(option)) {
      conditions.add(option);
      index += 1;
    } else return undefined;
  }
  return { expiry, word, conditions };
}

/**
 * What the second argument of EXPIRE, HPEXPIREAT, SETEX, … says.
 * @returns undefined when the command has no time there
 */
export function expiryOf(command: string, args: readonly Argument[]): Expiry | undefined {
  const form = knownCommand(command)?.time;
  return form && { ...form, time: args[1]! };
}

/**
 * How long a time to live is, in ms, as decimal digits: it may be longer than a double can tell.
 * @throws SyntaxError when it is no integer
 */
export function lastsMs({ time, unitMs }: Expiry): string {
  return String(BigInt(time.toString()) * BigInt(unitMs));
}

/**
 * The moment in ms since the epoch; NaN when the time is no number.
 * @param nowMs when a time to live begins, in ms since the epoch
 */
export function endsAtMs({ time, unitMs, isAbsolute }: Expiry, nowMs: number): number {
  return (isAbsolute ? 0 : nowMs) + Number(time) * unitMs;
}
