/**
 * Keys and fields that end by themselves, on each side at its own moment. Of two things the replies
 * tell nothing:
 *
 * - A time to live begins anew at the target. What the way usually takes is taken off when it
 *   leaves; if it took much longer, the key ends later there.
 * - A write is on its way while its key ends. One side may have written to the old key and the
 *   other made a new one, which has no end.
 */
import { type Argument, isToken } from '../../commands/arguments.js';
import { membersOf } from '../../commands/command.js';
import type { MirroredWrite } from './mirror-answers.js';
import type { MirrorFailure } from './mirror-failure.js';
import type { Replay } from './replay.js';
import type { UsualWay } from './usual-way.js';

/** Of how many keys and fields it is remembered when they end: those given their time last. */
const MOST_NAMES = 50_000;
/** Expiries that differ by less are equal for keymend, if nobody has configured it otherwise. */
const TOLERATED_MS = 100;
/** For rounding, and for what a server needs to notice. */
const MARGIN_MS = 5;

/** These make their key where it is not there, and answer the same nevertheless. */
const MAKES_KEY: ReadonlySet<string> = new Set([
  ...[
    'HSET',
    'HMSET',
    'HSETEX',
    'HINCRBY',
    'HINCRBYFLOAT',
    'SADD',
    'SMOVE',
    'ZADD',
    'GEOADD',
    'PFADD',
    'XADD',
    'XGROUP',
  ],
  ...['SETBIT', 'SETRANGE', 'BITFIELD', 'LMOVE', 'RPOPLPUSH'],
]);
/**
 * What these answer where they make their key. Both sides may have said that, and only one of them
 * made it: the other had a 0, or no text.
 */
const MADE_KEY: Readonly<Record<string, (args: readonly Argument[]) => number>> = {
  INCR: () => 1,
  DECR: () => -1,
  INCRBY: ([, by]) => Number(by),
  DECRBY: ([, by]) => -Number(by),
  APPEND: ([, text]) => Buffer.byteLength(text!),
};
/** The same of fields. Their keys they make as well, which is above. */
const MADE_FIELD: typeof MADE_KEY = { HINCRBY: ([, , by]) => Number(by), HINCRBYFLOAT: ([, , by]) => Number(by) };
/** Whatever the key was, and whenever it was to end, that is over. */
const BEGINS_ANEW: ReadonlySet<string> = new Set([
  'SET',
  'MSET',
  'MSETEX',
  'RESTORE',
  'DEL',
  'UNLINK',
  'PERSIST',
  'GETEX',
  'PEXPIRE',
]);
/**
 * They say when fields end, not keys. What takes a field's end away is not looked at: a look too
 * many costs no more than a comparison.
 */
const ENDS_FIELDS: ReadonlySet<string> = new Set(['HPEXPIRE', 'HEXPIREAT', 'HPEXPIREAT', 'HSETEX', 'HGETEX']);
/** With what a moment begins, and its unit in ms. */
const MOMENTS: Readonly<Record<string, number>> = {
  EXAT: 1000,
  PXAT: 1,
  EXPIREAT: 1000,
  PEXPIREAT: 1,
  ABSTTL: 1,
  HEXPIREAT: 1000,
  HPEXPIREAT: 1,
};

/** Within which a key ends on both sides, in `performance.now()`. */
interface End {
  readonly fromMs: number;
  readonly toMs: number;
}

export class Lifetimes {
  #young = new Map<string, End>();
  #old = new Map<string, End>();

  /**
   * The target has answered what left at a time.
   * @param doneMs when it had done that at the latest; later than now: it does not say
   * @param way there and back, as it usually is
   * @returns why the two sides may differ although their answers agree
   */
  answered(
    unit: readonly MirroredWrite[],
    departedMs: number,
    doneMs: number,
    way: UsualWay,
  ): MirrorFailure | undefined {
    const nowMs = Math.min(performance.now(), doneMs);
    const lateMs = way.beyond(nowMs - departedMs);
    const ended: Buffer[] = [];
    const drifted: Buffer[] = [];
    for (const mirrored of unit) {
      const { write, replay, heldMs } = mirrored;
      // One by one here and below: so many arguments as a write may have keys no call can have.
      if (timeToLive(replay) > 0 && lateMs + heldMs > TOLERATED_MS) for (const key of write.keys) drifted.push(key);
      const makes = makesKey(mirrored);
      if (!makes || ENDS_FIELDS.has(replay.command)) this.#note(mirrored, lateMs + 2 * way.ms);
      if (makes && this.#young.size + this.#old.size > 0) {
        for (const key of this.#mayHaveEnded(mirrored, nowMs)) ended.push(key);
      }
    }
    if (ended.length > 0)
      return { outcome: 'unknown', error: ENDED, keys: [...ended, ...drifted], scope: 'whole', doubt: true };
    return drifted.length > 0 ? { outcome: 'unknown', error: DRIFTED, keys: drifted, doubt: true } : undefined;
  }

  /** @returns the keys that may have ended, or a field of theirs, since it went to the source */
  #mayHaveEnded(mirrored: MirroredWrite, untilMs: number): readonly Buffer[] {
    const { write, sinceMs } = mirrored;
    const mayHaveEnded = (name: string) => {
      const end = this.#young.get(name) ?? this.#old.get(name);
      return end !== undefined && sinceMs <= end.toMs && untilMs >= end.fromMs;
    };
    if (makesField(mirrored) && fieldNames(write).some(mayHaveEnded)) return write.keys;
    return write.keys.filter((key) => mayHaveEnded(keyName(key)));
  }

  /** @param unsureMs by how much later its keys or fields may end at the target */
  #note({ write, replay, sinceMs, repliedMs }: MirroredWrite, unsureMs: number): void {
    const lastsMs = timeToLive(replay) || undefined;
    const endMs = lastsMs === undefined ? endOf(replay) : undefined;
    if (lastsMs !== undefined || endMs !== undefined) {
      const fromMs = (endMs ?? sinceMs + lastsMs!) - unsureMs - MARGIN_MS;
      const toMs = (endMs ?? repliedMs + lastsMs!) + unsureMs + MARGIN_MS;
      const names = ENDS_FIELDS.has(replay.command) ? fieldNames(write) : write.keys.map(keyName);
      for (const name of names) this.#remember(name, { fromMs, toMs });
    } else if (BEGINS_ANEW.has(replay.command) && this.#young.size + this.#old.size > 0) {
      for (const key of write.keys) this.#forget(keyName(key));
    }
  }

  #forget(name: string): void {
    this.#young.delete(name);
    this.#old.delete(name);
  }

  #remember(name: string, end: End): void {
    if (this.#young.size >= MOST_NAMES / 2) {
      this.#old = this.#young;
      this.#young = new Map();
    }
    this.#young.set(name, end);
  }
}

function makesKey({ replay, reply }: MirroredWrite): boolean {
  if (MAKES_KEY.has(replay.command) || lifetimeOf(replay)[0] === 'KEEPTTL') return true;
  // One too many, where a number is too large for a double, costs no more than a comparison.
  return MADE_KEY[replay.command]?.(replay.args) === Number(reply);
}

/** Whether it may have made a field without an end, and answered the same nevertheless. */
function makesField({ replay, reply }: MirroredWrite): boolean {
  if (replay.command === 'HSETEX') return lifetimeOf(replay)[0] === 'KEEPTTL';
  return MADE_FIELD[replay.command]?.(replay.args) === Number(reply);
}

function keyName(key: Buffer): string {
  return key.toString('latin1');
}

/** Those of one key. That a key has the name of a field costs no more than a comparison. */
function fieldNames({ command, args, keys }: MirroredWrite['write']): string[] {
  return (membersOf(command, args) ?? []).map((field) => `${keyName(keys[0]!)}\0${field.toString('latin1')}`);
}

/** Of its keys, or of fields, in ms; what has passed is not late anywhere. 0: it has none. */
function timeToLive({ args, ttlAt }: Replay): number {
  return ttlAt === undefined ? 0 : Math.max(0, Number(args[ttlAt]));
}

/** When its keys or fields end, in `performance.now()`. Undefined: it names no moment. */
function endOf(replay: Replay): number | undefined {
  const [word, time] = lifetimeOf(replay);
  const unitMs = MOMENTS[word];
  return unitMs === undefined ? undefined : performance.now() + Number(time) * unitMs - Date.now();
}

/** The word, in upper case, that says how long its keys or fields live, and the time behind it. */
function lifetimeOf({ command, args }: Replay): readonly [word: string, time?: Argument] {
  if (command === 'RESTORE') return [args.slice(3).some((word) => isToken(word, 'ABSTTL')) ? 'ABSTTL' : '', args[1]!];
  const at = optionsAt(command, args);
  if (at === undefined) return [command, args[1]!];
  return [String(args[at] ?? '').toUpperCase(), args[at + 1]!];
}

function optionsAt(command: string, args: readonly Argument[]): number | undefined {
  if (command === 'SET') return 2;
  if (command === 'MSETEX') return 1 + 2 * Number(args[0]);
  return command === 'HSETEX' || command === 'HGETEX' ? 1 : undefined;
}

const ENDED = {
  code: 'EXPIRED_MEANWHILE',
  message:
    'while this write was on its way its key or field ended: one side may have made a new one, which does not end',
};
const DRIFTED = {
  code: 'EXPIRY_DRIFTED',
  message: 'the time to live took longer to the target than usual, so the key may end later there',
};
