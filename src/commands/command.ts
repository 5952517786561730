/**
 * What a command says about what it writes. For the engine, the bridge and the dual writer; names
 * in any case.
 */
import { exists, getKeyIndexes, hasFlag, list } from '@ioredis/commands';
import { type Argument, addOptionsOf, distinctBytes, isToken, storeKey, toBytes } from './arguments.js';
import { type CommandRow, type MemberArguments, TABLE, type TimeForm, type WrittenKeys } from './table.js';

/**
 * What the name of a command says already. To find that out for each write would cost more than all
 * else about it.
 */
export interface KnownCommand {
  /** Upper case. */
  readonly name: string;
  /** Whether it may change keys with any arguments. */
  readonly mayWrite: boolean;
  /** It runs a script or a function, of which only the declared keys are known. */
  readonly runsScript: boolean;
  readonly failsHalfWay: boolean;
  // All of its row, and always in one shape: this is read for each write.
  readonly writes: CommandRow['writes'];
  readonly keys: WrittenKeys | undefined;
  readonly members: MemberArguments | undefined;
  readonly expiry: boolean;
  readonly time: TimeForm | undefined;
  readonly idempotent: boolean;
}

function know(lower: string): KnownCommand {
  const name = lower.toUpperCase();
  const row = TABLE.get(name);
  const runsScript = exists(lower) && hasFlag(lower, 'script_runner');
  return {
    name,
    mayWrite: row !== undefined || hasFlag(lower, 'write'),
    runsScript,
    failsHalfWay: runsScript || (row?.failsHalfWay ?? false),
    writes: row?.writes,
    keys: row?.keys,
    members: row?.members,
    expiry: row?.expiry ?? false,
    time: row?.time,
    idempotent: row?.idempotent ?? false,
  };
}

/** What the metadata lacks has a row that says which key it names. */
const NAMES: ReadonlySet<string> = new Set([...list, ...[...TABLE.keys()].map((name) => name.toLowerCase())]);

/** By their names in lower and in upper case. */
const COMMANDS: ReadonlyMap<string, KnownCommand> = new Map(
  [...NAMES].map(know).flatMap((command) => [
    [command.name, command],
    [command.name.toLowerCase(), command],
  ]),
);

/**
 * @returns undefined when the metadata does not know the command, so that nothing is known of its
 *   keys
 */
export function knownCommand(name: string): KnownCommand | undefined {
  return COMMANDS.get(name) ?? COMMANDS.get(name.toLowerCase());
}

/**
 * Whether sending the command twice leaves the same state as sending it once, whatever its
 * arguments. Unknown: false.
 * @example isIdempotent('SADD') // true
 * @example isIdempotent('INCR') // false
 */
export function isIdempotent(command: string): boolean {
  return knownCommand(command)?.idempotent ?? false;
}

/**
 * Whether the command may have done a part of its work when it answers with an error. Unknown:
 * true.
 */
export function failsHalfWay(command: string): boolean {
  return knownCommand(command)?.failsHalfWay ?? true;
}

/**
 * Whether the command may change keys. A command nobody knows may: a needless repair is better than
 * a lost write.
 * @param args what stands behind the command's name; without them: whether it may with any
 * @example isWrite('HSET') // true
 * @example isWrite('HGETALL') // false
 * @example isWrite('SORT', ['list', 'DESC']) // false
 */
export function isWrite(command: string, args?: readonly Argument[]): boolean {
  const known = knownCommand(command);
  if (known === undefined) return true;
  return args === undefined ? known.mayWrite : writesWith(known, args);
}

/**
 * The raw bytes of every key that a write may change, each once, in the order named. Not those that
 * it only reads. Of scripts and functions: the declared keys.
 * @param args what stands behind the command's name
 * @returns empty when the command is unknown, names no key (FLUSHALL) or writes nothing with these
 *   arguments
 * @example writtenKeys('SUNIONSTORE', ['to', 'from', 'and']) // [Buffer.from('to')]
 */
export function writtenKeys(command: string, args: readonly Argument[]): Buffer[] {
  const known = knownCommand(command);
  return known !== undefined && writesWith(known, args) ? keysWrittenWith(known, args) : [];
}

/**
 * Which part of a key the command can change at most. Unknown: `whole`.
 * @example touches('HSET') // 'members'
 */
export function touches(command: string): 'whole' | 'members' | 'expiry' {
  const known = knownCommand(command);
  if (known?.members !== undefined) return 'members';
  return known?.expiry ? 'expiry' : 'whole';
}

/**
 * The raw bytes of the members that a write touches in each of the keys it writes, each once.
 * @param args what stands behind the command's name
 * @returns undefined when the command touches more than named members, or is not known to touch
 *   less
 */
export function membersOf(command: string, args: readonly Argument[]): Buffer[] | undefined {
  const where = knownCommand(command)?.members;
  if (where === undefined) return undefined;
  if (where.behindFields) return membersBehindFields(where, args);
  const members: Argument[] = [];
  const first = where.first + (where.behindAddOptions ? addOptionsOf(args).length : 0);
  for (let index = first; index < args.length; index += where.step) {
    if (members.length === where.count) break;
    members.push(args[index]!);
  }
  return distinctBytes(members);
}

function membersBehindFields({ first, step }: MemberArguments, args: readonly Argument[]): Buffer[] | undefined {
  const word = args.findIndex((argument, index) => index >= first && isToken(argument, 'FIELDS'));
  const count = Number(args[word + 1]);
  const begin = word + 2;
  // Other options may stand behind them.
  if (word === -1 || !(count > 0) || begin + count * step > args.length) return undefined;
  return distinctBytes(args.slice(begin, begin + count * step).filter((_, index) => index % step === 0));
}

/** `isWrite` for who has looked the command up. */
export function writesWith({ mayWrite, writes, keys }: KnownCommand, args: readonly Argument[]): boolean {
  if (!mayWrite) return false;
  if (typeof keys === 'object') return storeKey(keys, args) !== undefined;
  return writes === undefined || writes(args);
}

/** `writtenKeys` for who has looked the command up. @param args with which it writes */
export function keysWrittenWith({ name, keys }: KnownCommand, args: readonly Argument[]): Buffer[] {
  if (keys === 'only') return args.length > 0 ? [toBytes(args[0]!)] : [];
  if (typeof keys === 'object') return [toBytes(storeKey(keys, args)!)];
  // Of MIGRATE the metadata understands text alone.
  const named = getKeyIndexes(name.toLowerCase(), name === 'MIGRATE' ? args.map(String) : withoutHugeCounts(args))
    .map((index) => args[index])
    .filter((key) => key !== undefined);
  if (keys === undefined) return distinctBytes(named);
  return distinctBytes(keys === 'first' ? named.slice(0, 1) : named.slice(-1));
}

/** Longer than any count and any word of a command's own. */
const LONGEST_WORD = 20;

/**
 * The arguments with every number in front that is larger than they are many cut down to that. The
 * metadata makes a list as long as a count of keys says, and `EVAL script 1700000000`, which Redis
 * refuses, would end the process. Only the places of keys are read from these, not the keys: so
 * what is too long to be a count or a word need not be looked at.
 */
function withoutHugeCounts(args: readonly Argument[]): Argument[] {
  return args.map((argument, index) => {
    if (index > 2) return argument;
    if (argument.length > LONGEST_WORD) return '-';
    return Number(argument) > args.length ? `${args.length}` : argument;
  });
}
