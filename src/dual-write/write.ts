/** What a command is to the dual write: a write that names its keys, nothing the target need hear of, or refused. */
import { exists, hasFlag } from '@ioredis/commands';
import { isToken, isWrite, writtenKeys } from '../engine/commands.js';

/** An argument of a Redis command as ioredis sends it. */
export type Argument = string | Buffer;

/** A write as the application gave it to the source. */
export interface Write {
  /** Upper case. */
  readonly command: string;
  /** All after the command's name. A `keyPrefix` of the source client already stands in front of the keys. */
  readonly args: readonly Argument[];
  /** Raw bytes of every key that the command may write (not of those it only reads), each once, at least one. */
  readonly keys: readonly Buffer[];
}

export type Classification =
  | { readonly kind: 'other' }
  | { readonly kind: 'write'; readonly write: Write }
  /** `reason`: one line saying which command, why, and what to do instead. */
  | { readonly kind: 'refused'; readonly reason: string };

const ON_BOTH_SIDES = 'run it on source and target yourself, then compare them with `npx keymend sweep`';
const ON_SOURCE = 'run it on the source client itself; the target will not follow';

/** Writes whose reach no list of keys can describe. */
const REFUSED: Readonly<Record<string, string>> = {
  SELECT: 'a link has one database; give each client its `db` option and each database its own DualWriter',
  FLUSHALL: `it touches keys that it does not name; ${ON_BOTH_SIDES}`,
  FLUSHDB: `it touches keys that it does not name; ${ON_BOTH_SIDES}`,
  SWAPDB: `it touches keys that it does not name; ${ON_BOTH_SIDES}`,
  MOVE: `it writes into another database, which the link does not cover; ${ON_SOURCE}`,
};

/**
 * Decides by name and arguments alone.
 * @param name the command in any case
 * @param args all after the name, as ioredis sends it
 */
export function classify(name: string, args: readonly Argument[]): Classification {
  const command = name.toUpperCase();
  const refusal = REFUSED[command];
  if (refusal !== undefined) return refused(command, refusal);
  if (!exists(command, { caseInsensitive: true })) {
    return refused(command, `keymend does not know the command, so neither its keys; ${ON_SOURCE}`);
  }
  if (!isWrite(command, args)) return { kind: 'other' };
  if (command === 'COPY' && args.some((argument, index) => index > 1 && isToken(argument, 'DB'))) {
    return refused(command, `with DB it writes into another database, which the link does not cover; ${ON_SOURCE}`);
  }
  const keys = writtenKeys(command, args);
  if (keys.length > 0) return { kind: 'write', write: { command, args: args.map(ownCopy), keys } };
  return runsScript(command)
    ? refused(command, 'it declares no keys; declare every key it writes, or use its read-only form (…_RO)')
    : refused(command, `its keys can't be known; ${ON_SOURCE}`);
}

/** Whether the command runs a script or function, of which only the declared keys are known. */
export function runsScript(command: string): boolean {
  return hasFlag(command, 'script_runner', { nameCaseInsensitive: true });
}

function refused(command: string, why: string): Classification {
  return { kind: 'refused', reason: `${command} is refused on a DualWriter: ${why}` };
}

/** An application may reuse a buffer once its command is sent, but the mirror sends it only after the source replied. */
function ownCopy(argument: Argument): Argument {
  return Buffer.isBuffer(argument) ? Buffer.from(argument) : argument;
}
