/** Which fields or members a write touches, where its command says so. */
import { type Argument, toBytes } from './write.js';

/** Every `step`-th argument from `first` on, up to the end or `count` of them. */
interface Place {
  readonly first: number;
  readonly step: number;
  readonly count?: number;
}

const EVERY: Place = { first: 1, step: 1 };
const FIRST_OF_PAIRS: Place = { first: 1, step: 2 };
const ONE_FIELD: Place = { first: 1, step: 1, count: 1 };
const ONE_MEMBER: Place = { first: 2, step: 1, count: 1 };

const PLACES: Readonly<Record<string, Place>> = {
  SADD: EVERY,
  SREM: EVERY,
  ZREM: EVERY,
  HDEL: EVERY,
  HSET: FIRST_OF_PAIRS,
  HMSET: FIRST_OF_PAIRS,
  HSETNX: ONE_FIELD,
  HINCRBY: ONE_FIELD,
  HINCRBYFLOAT: ONE_FIELD,
  ZINCRBY: ONE_MEMBER,
  SMOVE: ONE_MEMBER,
};

const CONDITIONS = new Set(['NX', 'XX', 'GT', 'LT', 'CH', 'INCR']);

/**
 * The raw bytes of the members that a write touches in each of its keys.
 * @returns undefined when the command touches more than named members, or is not known to touch less
 */
export function membersOf(command: string, args: readonly Argument[]): Buffer[] | undefined {
  const place = PLACES[command] ?? placeBehindConditions(command, args);
  if (place === undefined) return undefined;
  const members: Buffer[] = [];
  for (let index = place.first; index < args.length; index += place.step) {
    if (members.length === place.count) break;
    members.push(toBytes(args[index]!));
  }
  return members;
}

/** ZADD key [conditions] score member …, GEOADD key [conditions] longitude latitude member … */
function placeBehindConditions(command: string, args: readonly Argument[]): Place | undefined {
  const step = command === 'ZADD' ? 2 : command === 'GEOADD' ? 3 : undefined;
  if (step === undefined) return undefined;
  let first = 1;
  while (CONDITIONS.has(args[first]?.toString().toUpperCase() ?? '')) first += 1;
  return { first: first + step - 1, step };
}
