/**
 * Writes with a time to live, and what a hash does field by field. A time to live stays one, for
 * the clocks of the application, the source and the target may differ; it is sent with what is left
 * of it then (`ttlAt`).
 */
import type { Argument } from '../../../commands/arguments.js';
import { type ExpiryOptions, expiryOf, lastsMs, readExpiryOptions } from '../../../commands/expiry.js';
import { AT_MS } from '../../../commands/table.js';
import { isIdle, type MirrorPlan, NOTHING, type Replay, record, replay } from '../replay.js';
import { type Accepted, type Planner, unreadable } from './planner.js';

export const planSet: Planner = ({ command, args, reply }) => {
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
  return replayLasting('SET', [args[0]!, args[1]!], options, [], { idle: false });
};

export const planSetMany: Planner = ({ command, args }) => {
  const end = 1 + 2 * Number(args[0]);
  const options = readExpiryOptions(args, end, args.length);
  if (options === undefined) return unreadable(command);
  return replayLasting(command, args.slice(0, end), options, [], { idle: false });
};

/** key time value */
export const planSetUntil: Planner = ({ command, args }) =>
  replay('SET', [args[0]!, args[2]!, 'PX', lastsMs(expiryOf(command, args)!)], { idle: false, ttlAt: 3 });

export const planGetEx: Planner = ({ command, args, reply }) => {
  if (reply === null) return NOTHING;
  const options = readExpiryOptions(args, 1, args.length);
  const [option, value] = options === undefined ? [] : lasting(options);
  // PERSIST by itself says 0 of a key without an end, and of one that is not there.
  if (option === 'PERSIST') return replay(command, [args[0]!, option], { reply });
  if (option === 'PX') return replay('PEXPIRE', [args[0]!, value!], { idle: false, ttlAt: 1 });
  if (option === 'PXAT') return replay('PEXPIREAT', [args[0]!, value!], { idle: false });
  if (option === 'EXAT') return replay('EXPIREAT', [args[0]!, value!], { idle: false });
  return unreadable(command);
};

/** @param options how long it shall live, behind `before` and in front of `behind` */
function replayLasting(
  command: string,
  before: readonly Argument[],
  options: ExpiryOptions,
  behind: readonly Argument[],
  expected: Partial<Pick<Replay, 'idle' | 'reply'>>,
): MirrorPlan {
  const words = lasting(options);
  const ttl = words[0] === 'PX' && { ttlAt: before.length + 1 };
  return replay(command, [...before, ...words, ...behind], { ...expected, ...ttl });
}

/** How long the key shall live there, as options of SET. */
function lasting({ expiry, word }: ExpiryOptions): Argument[] {
  if (expiry === undefined) return word === undefined ? [] : [word];
  if (expiry.isAbsolute) return [expiry.unitMs === AT_MS.unitMs ? 'PXAT' : 'EXAT', expiry.time];
  return ['PX', lastsMs(expiry)];
}

/**
 * key time [NX|XX|GT|LT]: an unmet condition changed nothing, and a met one need not hold on the
 * target.
 */
export const planExpire: Planner = ({ command, args, reply }) => {
  if (args.length > 2 && isIdle(reply)) return NOTHING;
  const { time, ...ending } = inMs(command, args);
  return replay(ending.command, [args[0]!, time], { idle: isIdle(reply), ttlAt: ending.ttlAt });
};

/**
 * key time [NX|XX|GT|LT] FIELDS count field …, answered field by field: 1 set, 2 deleted since the
 * time has passed.
 */
export const planExpireFields: Planner = ({ command, args, reply }) => {
  const { time, ...ending } = inMs(command, args);
  return ofFields({ command, args, reply }, (done, answers) =>
    replay(ending.command, [args[0]!, time, 'FIELDS', String(done.length), ...done], {
      reply: answers,
      ttlAt: ending.ttlAt,
    }),
  );
};

/** EXPIRE and HEXPIRE in ms, by (H)PEXPIRE; what names a moment, as it is. */
function inMs(command: string, args: readonly Argument[]): { command: string; time: Argument; ttlAt?: number } {
  const expiry = expiryOf(command, args)!;
  if (expiry.isAbsolute) return { command, time: expiry.time };
  return { command: command.startsWith('H') ? 'HPEXPIRE' : 'PEXPIRE', time: lastsMs(expiry), ttlAt: 1 };
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
  ofFields(accepted, (fields, answers) =>
    replay('HPERSIST', [accepted.args[0]!, 'FIELDS', String(fields.length), ...fields], { reply: answers }),
  );

export const planGetAndDeleteFields: Planner = (accepted) =>
  ofFields(accepted, (fields) => replay('HDEL', [accepted.args[0]!, ...fields], { reply: fields.length }));

/** key [expiry] FIELDS count field … and key [FNX|FXX] [expiry] FIELDS count field value … */
export const planFieldsUntil: Planner = ({ command, args, reply }) => {
  const from = args.findIndex((argument, index) => index > 0 && argument.toString().toUpperCase() === 'FIELDS');
  if (Array.isArray(reply) && reply.every((value) => value === null)) return NOTHING;
  const options = readExpiryOptions(args, 1, from);
  if (options === undefined) return unreadable(command);
  // Of HGETEX the values: where a field is missing the answer is a list all the same.
  const expected = Array.isArray(reply) ? { reply } : { idle: isIdle(reply) };
  return replayLasting(command, [args[0]!], options, args.slice(from), expected);
};

export const planRestore: Planner = ({ command, args }) => {
  const [key, timeToLive, payload, ...options] = args as [Argument, Argument, Argument, ...Argument[]];
  const words = new Set(options.map((option) => option.toString().toUpperCase()));
  const isAbsolute = Number(timeToLive) === 0 || words.has('ABSTTL');
  const more = words.has('REPLACE') ? [] : ['REPLACE'];
  return replay(command, [key, timeToLive, payload, ...options, ...more], isAbsolute ? {} : { ttlAt: 1 });
};
