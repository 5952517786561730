/**
 * What a command is to the dual write: a write that names its keys, nothing the target need hear
 * of, or refused.
 */
import { type Argument, isToken } from '../../commands/arguments.js';
import { type KnownCommand, keysWrittenWith, knownCommand, writesWith } from '../../commands/command.js';
import { type DescribedCommand, keysWrittenAsDescribed } from '../../commands/described.js';
import { isOwnKey, OWN_PREFIX } from '../../own-keys.js';

/** A write as the application gave it to the source. */
export interface Write {
  /** Upper case. */
  readonly command: string;
  /**
   * All after the command's name. A `keyPrefix` of the source client already stands in front of the
   * keys.
   */
  readonly args: readonly Argument[];
  /**
   * Raw bytes of every key that the command may write (not of those it only reads), each once, at
   * least one.
   */
  readonly keys: readonly Buffer[];
}

type Classification =
  | { readonly kind: 'other' }
  /** Neither known nor described. */
  | { readonly kind: 'unknown' }
  | { readonly kind: 'write'; readonly write: Write }
  /** `reason`: one line saying which command, why, and what to do instead. */
  | { readonly kind: 'refused'; readonly reason: string };

const ON_BOTH_SIDES =
  'run it on source and target yourself while nobody writes; a key that differs nevertheless is mended by `npx keymend reconcile KEY`';
const ON_SOURCE = 'run it on the source client itself; the target will not follow';

/** A key of ours is never mirrored, and half a command can't be. */
const MIXED = `of its keys some begin with ${OWN_PREFIX}, which are keymend's own and not mirrored; write the others alone`;

/** Writes whose reach no list of keys can describe. */
const REFUSED: Readonly<Record<string, string>> = {
  SELECT: 'a link has one database; give each client its `db` option and each database its own DualWriter',
  FLUSHALL: `it touches keys that it does not name; ${ON_BOTH_SIDES}`,
  FLUSHDB: `it touches keys that it does not name; ${ON_BOTH_SIDES}`,
  SWAPDB: `it touches keys that it does not name; ${ON_BOTH_SIDES}`,
  MOVE: `it writes into another database, which the link does not cover; ${ON_SOURCE}`,
};

/**
 * Finds its keys only when somebody asks for them: for the marks behind its mirror, or a record, so
 * never in front of the source's reply unless it is announced.
 */
class NamedWrite implements Write {
  readonly command: string;
  readonly args: readonly Argument[];
  readonly #known: KnownCommand;
  #keys: readonly Buffer[] | undefined;

  constructor(known: KnownCommand, args: readonly Argument[]) {
    this.command = known.name;
    this.args = ownCopies(args);
    this.#known = known;
  }

  get keys(): readonly Buffer[] {
    this.#keys ??= keysWrittenWith(this.#known, this.args);
    return this.#keys;
  }
}

/**
 * Decides by name and arguments alone.
 * @param name the command in any case
 * @param args all after the name, as ioredis sends it; not to be changed afterwards, but for the
 *   bytes of buffers
 * @param describe what the source has said of a command that keymend does not know
 */
export function classify(
  name: string,
  args: readonly Argument[],
  describe: Describe = () => undefined,
): Classification {
  try {
    return classified(name, args, describe);
  } catch {
    // The metadata lists them on the stack. What is thrown in a pipeline would shift its replies.
    return refused(name, 'its keys are too many to be found; name fewer at once');
  }
}

type Describe = (name: string) => DescribedCommand | undefined;

function classified(name: string, args: readonly Argument[], describe: Describe): Classification {
  const known = knownCommand(name);
  const command = known?.name ?? name.toUpperCase();
  const refusal = REFUSED[command];
  if (refusal !== undefined) return refused(command, refusal);
  if (known === undefined) {
    const described = describe(name);
    return described === undefined ? UNKNOWN : classifyAsDescribed(described, args);
  }
  if (!known.mayWrite) return OTHER;
  // Nearly always: the arguments need not be read.
  if (known.keys === 'only' && args.length > 0) {
    return isOwnKey(args[0]!) ? OTHER : { kind: 'write', write: new NamedWrite(known, args) };
  }
  if (!writesWith(known, args)) return OTHER;
  if (command === 'COPY' && args.some((argument, index) => index > 1 && isToken(argument, 'DB'))) {
    return refused(command, `with DB it writes into another database, which the link does not cover; ${ON_SOURCE}`);
  }
  const write = new NamedWrite(known, args);
  if (write.keys.length > 0) return unlessOwn(write);
  return known.runsScript
    ? refused(command, 'it declares no keys; declare every key it writes, or use its read-only form (…_RO)')
    : refused(command, `its keys can't be known; ${ON_SOURCE}`);
}

/** What it writes is not known, only where: its mirror is a record for the whole of each key. */
function classifyAsDescribed(described: DescribedCommand, args: readonly Argument[]): Classification {
  const { name: command } = described;
  const keys = keysWrittenAsDescribed(described, args);
  if (keys === undefined) {
    return refused(command, `neither keymend nor the source can name the keys that it writes; ${ON_SOURCE}`);
  }
  return keys.length > 0 ? unlessOwn({ command, args: ownCopies(args), keys }) : OTHER;
}

/** @param write with at least one key */
function unlessOwn(write: Write): Classification {
  if (!write.keys.some(isOwnKey)) return { kind: 'write', write };
  return write.keys.every(isOwnKey) ? OTHER : refused(write.command, MIXED);
}

const OTHER: Classification = { kind: 'other' };
const UNKNOWN: Classification = { kind: 'unknown' };

function refused(command: string, why: string): Classification {
  return { kind: 'refused', reason: refusalOf(command, why) };
}

/** One line. */
export function refusalOf(command: string, why: string): string {
  return `${command.toUpperCase()} is refused on a DualWriter: ${why}`;
}

/**
 * An application may reuse a buffer once its command is sent, but the mirror sends it only after
 * the source replied.
 */
function ownCopies(args: readonly Argument[]): readonly Argument[] {
  if (args.every((argument) => typeof argument === 'string')) return args;
  return args.map((argument) => (Buffer.isBuffer(argument) ? Buffer.from(argument) : argument));
}
