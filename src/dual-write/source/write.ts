/** What a command is to the dual write: a write that names its keys, nothing the target need hear of, or refused. */
import { hasFlag, list } from '@ioredis/commands';
import { isToken, isWrite, toBytes, writtenKeys } from '../../commands/table.js';

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

/** What the name of a command says already: to find that out for each write would cost more than all else about it. */
interface NamedCommand {
  /** Upper case. */
  readonly name: string;
  readonly mayWrite: boolean;
  readonly runsScript: boolean;
  /** Its key, the only one, is its first argument, whatever the others are. */
  readonly hasOneKey: boolean;
}

/** All but the rare ones. */
const ONE_KEY: ReadonlySet<string> = new Set([
  ...['SET', 'SETNX', 'SETEX', 'PSETEX', 'GETSET', 'GETDEL', 'APPEND', 'SETRANGE', 'SETBIT', 'PFADD'],
  ...['INCR', 'DECR', 'INCRBY', 'DECRBY', 'INCRBYFLOAT', 'PERSIST', 'EXPIRE', 'PEXPIRE', 'EXPIREAT', 'PEXPIREAT'],
  ...['LPUSH', 'RPUSH', 'LPUSHX', 'RPUSHX', 'LPOP', 'RPOP', 'LSET', 'LREM', 'LTRIM', 'LINSERT'],
  ...['HSET', 'HMSET', 'HSETNX', 'HDEL', 'HINCRBY', 'HINCRBYFLOAT', 'SADD', 'SREM', 'SPOP'],
  ...['ZADD', 'ZREM', 'ZINCRBY', 'ZREMRANGEBYSCORE', 'ZREMRANGEBYRANK', 'ZPOPMIN', 'ZPOPMAX', 'XADD', 'XDEL', 'XACK'],
]);

/** By their names in lower case. */
const COMMANDS: ReadonlyMap<string, NamedCommand> = new Map(
  list.map((lower) => {
    const name = lower.toUpperCase();
    const script = hasFlag(lower, 'script_runner');
    return [lower, { name, mayWrite: isWrite(name), runsScript: script, hasOneKey: ONE_KEY.has(name) }];
  }),
);

/** Names its keys when somebody asks for them: of a write that is mirrored nobody does. */
class NamedWrite implements Write {
  readonly command: string;
  readonly args: readonly Argument[];
  /** It is its first argument. */
  readonly #hasOneKey: boolean;
  #keys: readonly Buffer[] | undefined;

  constructor(command: string, args: readonly Argument[], hasOneKey: boolean) {
    this.command = command;
    this.args = ownCopies(args);
    this.#hasOneKey = hasOneKey;
  }

  get keys(): readonly Buffer[] {
    this.#keys ??= this.#hasOneKey ? [toBytes(this.args[0]!)] : writtenKeys(this.command, this.args);
    return this.#keys;
  }
}

/**
 * Decides by name and arguments alone.
 * @param name the command in any case
 * @param args all after the name, as ioredis sends it; not to be changed afterwards, but for the bytes of buffers
 */
export function classify(name: string, args: readonly Argument[]): Classification {
  const known = COMMANDS.get(name) ?? COMMANDS.get(name.toLowerCase());
  const command = known?.name ?? name.toUpperCase();
  const refusal = REFUSED[command];
  if (refusal !== undefined) return refused(command, refusal);
  if (known === undefined) {
    return refused(command, `keymend does not know the command, so neither its keys; ${ON_SOURCE}`);
  }
  if (!known.mayWrite) return OTHER;
  if (known.hasOneKey && args.length > 0) return { kind: 'write', write: new NamedWrite(command, args, true) };
  if (!isWrite(command, args)) return OTHER;
  if (command === 'COPY' && args.some((argument, index) => index > 1 && isToken(argument, 'DB'))) {
    return refused(command, `with DB it writes into another database, which the link does not cover; ${ON_SOURCE}`);
  }
  const write = new NamedWrite(command, args, false);
  if (write.keys.length > 0) return { kind: 'write', write };
  return known.runsScript
    ? refused(command, 'it declares no keys; declare every key it writes, or use its read-only form (…_RO)')
    : refused(command, `its keys can't be known; ${ON_SOURCE}`);
}

const OTHER: Classification = { kind: 'other' };

/**
 * Whether the command runs a script or function, of which only the declared keys are known.
 * @param command known, in upper case
 */
export function runsScript(command: string): boolean {
  return hasFlag(command, 'script_runner', { nameCaseInsensitive: true });
}

function refused(command: string, why: string): Classification {
  return { kind: 'refused', reason: `${command} is refused on a DualWriter: ${why}` };
}

/** An application may reuse a buffer once its command is sent, but the mirror sends it only after the source replied. */
function ownCopies(args: readonly Argument[]): readonly Argument[] {
  if (args.every((argument) => typeof argument === 'string')) return args;
  return args.map((argument) => (Buffer.isBuffer(argument) ? Buffer.from(argument) : argument));
}
