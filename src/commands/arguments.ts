/** The arguments of Redis commands. */

/** Text or raw bytes. */
export type Argument = string | Buffer;

/** Whether an argument is the given option word, which Redis takes in any case. */
export function isToken(argument: Argument, token: string): boolean {
  return argument.length === token.length && argument.toString().toUpperCase() === token;
}

/** A copy of the argument's bytes. */
export function toBytes(argument: Argument): Buffer {
  return typeof argument === 'string' ? Buffer.from(argument) : Buffer.from(argument);
}

/** The bytes of each argument, without repetitions. */
export function distinctBytes(list: readonly Argument[]): Buffer[] {
  return [...new Map(list.map(toBytes).map((bytes) => [bytes.toString('latin1'), bytes])).values()];
}

const ADD_OPTIONS: ReadonlySet<string> = new Set(['NX', 'XX', 'GT', 'LT', 'CH', 'INCR']);

/**
 * The options of `ZADD key [option …] score member …` and GEOADD, in upper case.
 * What is added stands behind them.
 */
export function addOptionsOf(args: readonly Argument[]): string[] {
  const options: string[] = [];
  for (let index = 1; index < args.length; index++) {
    const word = args[index]!.toString().toUpperCase();
    if (!ADD_OPTIONS.has(word)) break;
    options.push(word);
  }
  return options;
}

/** Where a command may say `STORE key`. */
export interface StoreOption {
  /** Where the options begin. */
  readonly from: number;
  /** Upper case: the words that a key to write stands behind. */
  readonly words: readonly string[];
  /** Options before names, which may themselves read STORE: how much stands behind each. */
  readonly skipped: Readonly<Record<string, number>>;
}

/** The key behind STORE. The last one counts, as for Redis. */
export function storeKey({ from, words, skipped }: StoreOption, args: readonly Argument[]): Argument | undefined {
  let key: Argument | undefined;
  for (let index = from; index < args.length - 1; index++) {
    const word = args[index]!.toString().toUpperCase();
    if (words.includes(word)) {
      index += 1;
      key = args[index];
    } else index += skipped[word] ?? 0;
  }
  return key;
}
