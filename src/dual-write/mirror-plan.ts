/**
 * How a write that the source has accepted gets to the target: as it is, by its effect, or as a failed-write record, which
 * makes the reconcile copy the source's state.
 */
import { hasFlag } from '@ioredis/commands';
import { type Argument, isToken, runsScript, type Write } from './write.js';

/** A command for the target. */
export interface Replay {
  readonly command: string;
  readonly args: readonly Argument[];
  /** Whether the source's reply said that nothing was there to do; the target must say the same. */
  readonly idle: boolean;
}

export type MirrorPlan =
  | { readonly kind: 'replay'; readonly replay: Replay }
  /** Sent to the target, it could do something else there than it did on the source. */
  | { readonly kind: 'record'; readonly reason: string }
  /** The source changed nothing. */
  | { readonly kind: 'nothing' };

/** What the source said, unparsed: strings are buffers. */
export type RawReply = unknown;

/**
 * @param reply the source's reply to the write
 * @param nowMs the application's clock (ms since the epoch) when the reply came: relative expiries become absolute by it
 */
export function planMirror(write: Write, reply: RawReply, nowMs: number): MirrorPlan {
  const { command, args } = write;
  if (runsScript(command)) return record(`${command} can do something else on the target`);
  switch (command) {
    case 'SPOP':
      return planPop(args, reply);
    case 'XADD':
      return planAppend(args, reply);
    case 'XREADGROUP':
    case 'XCLAIM':
    case 'XAUTOCLAIM':
      return isIdle(reply) ? NOTHING : record(`${command} depends on the moment it runs`);
    case 'MIGRATE':
      return record('MIGRATE concerns the source alone');
  }
  // Replayed, it would block the mirror; and what it took from which key depends on the moment.
  if (hasFlag(command, 'blocking', { nameCaseInsensitive: true })) {
    return isIdle(reply) ? NOTHING : record(`${command} would block the target`);
  }
  return { kind: 'replay', replay: { ...withAbsoluteExpiry(command, args, nowMs), idle: isIdle(reply) } };
}

/**
 * Whether a reply says that there was nothing to do: no such key or member, or a condition (NX, XX, GT, …) not met. When one
 * side says so and the other does not, the write did not do the same on both.
 */
export function isIdle(reply: RawReply): boolean {
  if (Array.isArray(reply)) return reply.length === 0;
  return reply === null || reply === 0 || reply === -1 || reply === '0' || reply === '-1';
}

const NOTHING: MirrorPlan = { kind: 'nothing' };

function record(reason: string): MirrorPlan {
  return { kind: 'record', reason };
}

/** SPOP takes members at random, so the target removes those that the source took. */
function planPop([key]: readonly Argument[], reply: RawReply): MirrorPlan {
  if (isIdle(reply)) return NOTHING;
  const members = (Array.isArray(reply) ? reply : [reply]) as Buffer[];
  return { kind: 'replay', replay: { command: 'SREM', args: [key!, ...members], idle: false } };
}

/** XADD may leave the ID to the server, so the target gets the one that the source gave. */
function planAppend(args: readonly Argument[], reply: RawReply): MirrorPlan {
  if (isIdle(reply)) return NOTHING;
  const index = streamIdIndex(args);
  if (index === undefined) return record('XADD was written in a way that keymend does not know');
  return { kind: 'replay', replay: { command: 'XADD', args: args.with(index, reply as Buffer), idle: false } };
}

/** Where in `key [NOMKSTREAM] [MAXLEN|MINID [=|~] threshold [LIMIT count]] <* | id> field value …` the ID stands. */
function streamIdIndex(args: readonly Argument[]): number | undefined {
  let index = 1;
  while (index < args.length) {
    const argument = args[index]!;
    if (/^(\*|\d+(-(\*|\d+))?)$/.test(argument.toString())) return index;
    if (isToken(argument, 'MAXLEN') || isToken(argument, 'MINID')) {
      index += isToken(args[index + 1] ?? '', '=') || isToken(args[index + 1] ?? '', '~') ? 3 : 2;
    } else if (isToken(argument, 'LIMIT')) index += 2;
    else if (['NOMKSTREAM', 'KEEPREF', 'DELREF', 'ACKED'].some((word) => isToken(argument, word))) index += 1;
    else return undefined;
  }
  return undefined;
}

/** A time to live that starts anew on the target would end later there, by as much as the mirror is late. */
function withAbsoluteExpiry(
  command: string,
  args: readonly Argument[],
  nowMs: number,
): Pick<Replay, 'command' | 'args'> {
  const at = (timeToLive: Argument | undefined, unitMs: number) => String(nowMs + Number(timeToLive) * unitMs);
  switch (command) {
    case 'EXPIRE':
    case 'HEXPIRE':
      return { command: `${command.replace('EXPIRE', 'PEXPIRE')}AT`, args: args.with(1, at(args[1], 1000)) };
    case 'PEXPIRE':
    case 'HPEXPIRE':
      return { command: `${command}AT`, args: args.with(1, at(args[1], 1)) };
    case 'SETEX':
    case 'PSETEX': {
      const [key, timeToLive, value] = args as [Argument, Argument, Argument];
      return { command: 'SET', args: [key, value, 'PXAT', at(timeToLive, command === 'SETEX' ? 1000 : 1)] };
    }
    case 'RESTORE':
      if (Number(args[1]) === 0 || args.some((argument, index) => index > 2 && isToken(argument, 'ABSTTL'))) break;
      return { command, args: [...args.with(1, at(args[1], 1)), 'ABSTTL'] };
  }
  const options = expiryOptions(command, args);
  for (let index = options.from; index < options.to; index++) {
    const unitMs = isToken(args[index]!, 'EX') ? 1000 : isToken(args[index]!, 'PX') ? 1 : undefined;
    if (unitMs === undefined) continue;
    return { command, args: args.with(index, 'PXAT').with(index + 1, at(args[index + 1], unitMs)) };
  }
  return { command, args };
}

/** Between which arguments EX and PX are options, not keys, fields or values. */
function expiryOptions(command: string, args: readonly Argument[]): { from: number; to: number } {
  switch (command) {
    case 'SET':
      return { from: 2, to: args.length };
    case 'GETEX':
      return { from: 1, to: args.length };
    case 'MSETEX':
      return { from: 1 + 2 * Number(args[0]), to: args.length };
    case 'HSETEX':
    case 'HGETEX':
      return { from: 1, to: args.findIndex((argument, index) => index > 0 && isToken(argument, 'FIELDS')) };
    default:
      return { from: 0, to: 0 };
  }
}
