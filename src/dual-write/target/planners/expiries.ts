/**
 * Writes with a time to live, and what a hash does field by field. A time to live that starts anew
 * on the target would end later there, by as much as the mirror is late. So it becomes the time at
 * which it ends.
 */
import type { Argument } from '../../../commands/arguments.js';
import { type ExpiryOptions, endsAtMs, expiryOf, readExpiryOptions } from '../../../commands/expiry.js';
import { AT_MS, IN_MS } from '../../../commands/table.js';
import { isIdle, type MirrorPlan, NOTHING, record, replay } from '../replay.js';
import { type Accepted, type Planner, unreadable } from './planner.js';

export const planSet: Planner = ({ command, args, reply, nowMs }) => {
  if (args.length === 2) return replay('SET', args, { idle: false });
  const options = readExpiryOptions(args, 2, args.length);
  if (options === undefined) return unreadable(command);
  const { conditions } = options;
  if (conditions.has('GET')) {
    // The reply is the old value, whatever was done.
    if (conditions.has('IFEQ') || conditions.has('IFNE') || conditions.has('IFDEQ') || conditions.has('IFDNE')) {
      return record('SET with a comparison and GET does not tell what it did');
    }
    if (conditions.has('NX') && reply !== null) return NOTHING;
    if (conditions.has('XX') && reply === null) return NOTHING;
  } else if (reply === null) return NOTHING;
  return replay('SET', [args[0]!, args[1]!, ...lasting(options, nowMs)], { idle: false });
};

export const planSetMany: Planner = ({ command, args, nowMs }) => {
  const end = 1 + 2 * Number(args[0]);
  const options = readExpiryOptions(args, end, args.length);
  if (options === undefined) return unreadable(command);
  return replay(command, [...args.slice(0, end), ...lasting(options, nowMs)], { idle: false });
};

/** key time value */
export const planSetUntil: Planner = ({ command, args, nowMs }) =>
  replay('SET', [args[0]!, args[2]!, 'PXAT', String(endsAtMs(expiryOf(command, args)!, nowMs))], { idle: false });

export const planGetEx: Planner = ({ command, args, reply, nowMs }) => {
  if (reply === null) return NOTHING;
  const options = readExpiryOptions(args, 1, args.length);
  const [option, value] = options === undefined ? [] : lasting(options, nowMs);
  if (option === 'PERSIST') return replay('PERSIST', [args[0]!]);
  if (option === 'PXAT') return replay('PEXPIREAT', [args[0]!, value!], { idle: false });
  if (option === 'EXAT') return replay('EXPIREAT', [args[0]!, value!], { idle: false });
  return unreadable(command);
};

/** How long the key shall live there, as options of SET; in absolute times. */
function lasting({ expiry, word }: ExpiryOptions, nowMs: number): Argument[] {
  if (expiry === undefined) return word === undefined ? [] : [word];
  if (expiry.isAbsolute) return [expiry.unitMs === AT_MS.unitMs ? 'PXAT' : 'EXAT', expiry.time];
  return ['PXAT', String(endsAtMs(expiry, nowMs))];
}

/**
 * key time [NX|XX|GT|LT]: an unmet condition changed nothing, and a met one need not hold on the
 * target.
 */
export const planExpire: Planner = ({ command, args, reply, nowMs }) => {
  if (args.length > 2 && isIdle(reply)) return NOTHING;
  const at = expireAt(command, args, nowMs);
  return replay(at.command, [args[0]!, at.time], { idle: isIdle(reply) });
};

/**
 * key time [NX|XX|GT|LT] FIELDS count field …, answered field by field: 1 set, 2 deleted since the
 * time has passed.
 */
export const planExpireFields: Planner = ({ command, args, reply, nowMs }) => {
  const at = expireAt(command, args, nowMs);
  return ofFields({ command, args, reply }, (done, answers) =>
    replay(at.command, [args[0]!, at.time, 'FIELDS', String(done.length), ...done], { reply: answers }),
  );
};

/**
 * EXPIRE, PEXPIRE, HEXPIRE, … by the commands that take a time: (H)PEXPIREAT; those that do
 * already, as they are.
 */
function expireAt(command: string, args: readonly Argument[], nowMs: number): { command: string; time: Argument } {
  const expiry = expiryOf(command, args)!;
  if (expiry.isAbsolute) return { command, time: expiry.time };
  return { command: command.startsWith('H') ? 'HPEXPIREAT' : 'PEXPIREAT', time: String(endsAtMs(expiry, nowMs)) };
}

/** Goes on with the fields to which something was done, and what was answered for each. */
function ofFields(
  { command, args, reply }: Pick<Accepted, 'command' | 'args' | 'reply'>,
  effect: (fields: Argument[], answers: unknown[]) => MirrorPlan,
): MirrorPlan {
  const first = args.findIndex((argument, index) => index > 0 && argument.toString().toUpperCase() === 'FIELDS') + 2;
  const answers = Array.isArray(reply) ? reply : [];
  if (isIdle(reply)) return NOTHING;
  if (first < 2 || args.length !== first + answers.length) {
    return unreadable(command);
  }
  const isDone = (answer: unknown) => answer !== null && !(Number(answer) <= 0 && !Buffer.isBuffer(answer));
  const fields = args.slice(first).filter((_field, index) => isDone(answers[index]));
  return fields.length === 0 ? NOTHING : effect(fields, answers.filter(isDone));
}

export const planPersistFields: Planner = (accepted) =>
  ofFields(accepted, (fields) => replay('HPERSIST', [accepted.args[0]!, 'FIELDS', String(fields.length), ...fields]));

export const planGetAndDeleteFields: Planner = (accepted) =>
  ofFields(accepted, (fields) => replay('HDEL', [accepted.args[0]!, ...fields], { reply: fields.length }));

/** key [expiry] FIELDS count field … and key [FNX|FXX] [expiry] FIELDS count field value … */
export const planFieldsUntil: Planner = ({ command, args, reply, nowMs }) => {
  const from = args.findIndex((argument, index) => index > 0 && argument.toString().toUpperCase() === 'FIELDS');
  if (Array.isArray(reply) && reply.every((value) => value === null)) return NOTHING;
  const options = readExpiryOptions(args, 1, from);
  if (options === undefined) return unreadable(command);
  return replay(command, [args[0]!, ...lasting(options, nowMs), ...args.slice(from)], { idle: isIdle(reply) });
};

export const planRestore: Planner = ({ command, args, nowMs }) => {
  const [key, timeToLive, payload, ...options] = args as [Argument, Argument, Argument, ...Argument[]];
  const words = new Set(options.map((option) => option.toString().toUpperCase()));
  const isAbsolute = Number(timeToLive) === 0 || words.has('ABSTTL');
  const more = [...(words.has('REPLACE') ? [] : ['REPLACE']), ...(isAbsolute ? [] : ['ABSTTL'])];
  const until = isAbsolute ? timeToLive : String(endsAtMs({ ...IN_MS, time: timeToLive }, nowMs));
  return replay(command, [key, until, payload, ...options, ...more]);
};
