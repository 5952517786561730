/**
 * What a server says of a command that the table does not know, one of a module or of a newer
 * server: whether it may write, and which keys it names. See COMMAND INFO.
 */
import { type Argument, distinctBytes, isToken } from './arguments.js';

/** How a server finds keys among the arguments. A place counts from the command's name, 0. */
interface KeySpec {
  readonly flags: ReadonlySet<string>;
  readonly begin: Fields;
  readonly find: Fields;
}

/** Of a map in a reply. */
type Fields = Readonly<Record<string, unknown>>;

export interface DescribedCommand {
  /** Upper case; of a subcommand with its container: `XGROUP|CREATE`. */
  readonly name: string;
  readonly flags: ReadonlySet<string>;
  readonly keySpecs: readonly KeySpec[];
  readonly subcommands: readonly DescribedCommand[];
}

/**
 * @param entry of the reply to COMMAND INFO, as text
 * @returns undefined: there is no such command
 */
export function readDescription(entry: unknown): DescribedCommand | undefined {
  if (!Array.isArray(entry)) return undefined;
  const [name, , flags, first, last, step, , , specs, subcommands = []] = entry as [string, ...unknown[]];
  return {
    name: name.toUpperCase(),
    flags: new Set(flags as string[]),
    keySpecs: Array.isArray(specs) ? specs.map(readKeySpec) : ofOlderServer(Number(first), Number(last), Number(step)),
    subcommands: (subcommands as unknown[]).map(readDescription).filter((command) => command !== undefined),
  };
}

/**
 * The raw bytes of every key that the command may write, each once.
 * @param args what stands behind the command's name
 * @returns none when it writes nothing; undefined when it may write and its keys can't be named
 */
export function keysWrittenAsDescribed(command: DescribedCommand, args: readonly Argument[]): Buffer[] | undefined {
  const { name, flags, keySpecs, subcommands } = command;
  if (subcommands.length > 0) {
    const called = subcommands.find((sub) => isToken(args[0] ?? '', sub.name.slice(name.length + 1)));
    return called && keysWrittenAsDescribed(called, args);
  }
  if (flags.has('readonly')) return [];
  const specs = keySpecs.filter((spec) => !spec.flags.has('not_key'));
  const isMovable = flags.has('movablekeys');
  // Of connections, channels or the server itself.
  if (specs.length === 0 && !isMovable && !flags.has('write')) return [];
  // Then a function in the server finds the keys, and the places are not all of them.
  if (isMovable && specs.every(({ begin, find }) => begin.type === 'index' && find.type === 'range')) return undefined;
  const read: Argument[] = [];
  const written: Argument[] = [];
  for (const spec of specs) {
    const places = spec.flags.has('incomplete') ? undefined : placesOf(spec, args);
    if (places === undefined) return undefined;
    const list = spec.flags.has('RO') ? read : written;
    // One by one: so many arguments as a command may name keys no call can have.
    for (const place of places) list.push(args[place - 1]!);
  }
  // What is only read may be written nevertheless, as the groups of XREADGROUP are.
  const named = written.length > 0 ? written : read;
  return named.length > 0 ? distinctBytes(named) : undefined;
}

/** @returns undefined when it does not tell */
function placesOf({ begin, find }: KeySpec, args: readonly Argument[]): number[] | undefined {
  const start = placeOfFirst(begin, args);
  if (start === undefined) return undefined;
  if (start === 0) return [];
  const spec = fieldsOf(find.spec);
  const [end, count] = [args.length + 1, args.length];
  if (find.type === 'keynum') {
    const keys = Number(args[start + Number(spec.keynumidx) - 1]);
    const first = start + Number(spec.firstkey);
    const step = Number(spec.keystep);
    return range(first, first + (keys - 1) * step, step, count);
  }
  if (find.type !== 'range') return undefined;
  const [lastKey, limit] = [Number(spec.lastkey), Number(spec.limit)];
  const last =
    lastKey >= 0 ? start + lastKey : limit > 1 ? start + Math.floor((end - start) / limit) + lastKey : end + lastKey;
  return range(start, last, Number(spec.keystep), count);
}

/** @returns 0: the word is not there, so neither are its keys; undefined: it does not tell */
function placeOfFirst({ type, spec }: Fields, args: readonly Argument[]): number | undefined {
  const { index, keyword, startfrom } = fieldsOf(spec);
  if (type === 'index') return Number(index);
  if (type !== 'keyword') return undefined;
  const from = Number(startfrom);
  const isWord = (argument: Argument) => isToken(argument, String(keyword).toUpperCase());
  const at = from > 0 ? args.findIndex((argument, i) => i + 1 >= from && isWord(argument)) : args.findLastIndex(isWord);
  return at === -1 ? 0 : at + 2;
}

/** Never beyond what is there, whatever a command line says. */
function range(first: number, last: number, step: number, count: number): number[] {
  const places: number[] = [];
  if (!(step > 0)) return places;
  for (let place = first; place <= Math.min(last, count); place += step) places.push(place);
  return places;
}

/** Before Redis 7 it told where the first key is, where the last, and how far it is between two. */
function ofOlderServer(first: number, lastkey: number, keystep: number): KeySpec[] {
  if (!(first > 0)) return [];
  const spec = { lastkey: lastkey < 0 ? lastkey : lastkey - first, keystep, limit: 0 };
  return [{ flags: new Set(), begin: { type: 'index', spec: { index: first } }, find: { type: 'range', spec } }];
}

function readKeySpec(spec: unknown): KeySpec {
  const { flags, begin_search: begin, find_keys: find } = fieldsOf(spec);
  return { flags: new Set(flags as string[]), begin: fieldsOf(begin), find: fieldsOf(find) };
}

/** A map comes as a list of names and values, or as an object, as the client has it. */
function fieldsOf(map: unknown): Fields {
  if (!Array.isArray(map)) return (map ?? {}) as Fields;
  return Object.fromEntries(map.flatMap((name, at) => (at % 2 === 0 ? [[name, map[at + 1]]] : [])));
}
