/**
 * Keys that end by themselves, on each side at its own moment. Of two things the replies tell
 * nothing:
 *
 * - A time to live begins anew at the target. What the way usually takes is taken off when it
 *   leaves; if it took much longer, the key ends later there.
 * - A write is on its way while its key ends. One side may have written to the old key and the
 *   other made a new one, which has no end.
 */
import { type Argument, isToken } from '../../commands/arguments.js';
import type { MirroredWrite } from './mirror-answers.js';
import type { MirrorFailure } from './mirror-failure.js';
import type { Replay } from './replay.js';
import type { UsualWay } from './usual-way.js';

/** Of how many keys it is remembered when they end: those that were given their time last. */
const MOST_KEYS = 50_000;
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
/** Whatever the key was, and whenever it was to end, that is over. */
const BEGINS_ANEW: ReadonlySet<string> = new Set([
  'SET',
  'MSET',
  'MSETEX',
  'RESTORE',
  'DEL',
  'UNLINK',
  'PERSIST',
  'PEXPIRE',
]);
/** With what a moment begins, and its unit in ms. */
const MOMENTS: Readonly<Record<string, number>> = { EXAT: 1000, PXAT: 1, EXPIREAT: 1000, PEXPIREAT: 1, ABSTTL: 1 };

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
      if (makesKey(mirrored)) {
        if (this.#young.size + this.#old.size === 0) continue;
        for (const key of write.keys) {
          const end = this.#endOf(key.toString('latin1'));
          if (end && mirrored.sinceMs <= end.toMs && nowMs >= end.fromMs) ended.push(key);
        }
      } else this.#note(mirrored, lateMs + 2 * way.ms);
    }
    if (ended.length > 0)
      return { outcome: 'unknown', error: ENDED, keys: [...ended, ...drifted], scope: 'whole', doubt: true };
    return drifted.length > 0 ? { outcome: 'unknown', error: DRIFTED, keys: drifted, doubt: true } : undefined;
  }

  #endOf(name: string): End | undefined {
    return this.#young.get(name) ?? this.#old.get(name);
  }

  /** @param unsureMs by how much later its keys may end at the target */
  #note({ write, replay, sinceMs, repliedMs }: MirroredWrite, unsureMs: number): void {
    const lastsMs = lastsFor(replay);
    const endMs = lastsMs === undefined ? endOf(replay) : undefined;
    if (lastsMs !== undefined || endMs !== undefined) {
      const fromMs = (endMs ?? sinceMs + lastsMs!) - unsureMs - MARGIN_MS;
      const toMs = (endMs ?? repliedMs + lastsMs!) + unsureMs + MARGIN_MS;
      for (const key of write.keys) this.#remember(key.toString('latin1'), { fromMs, toMs });
    } else if (BEGINS_ANEW.has(replay.command) && this.#young.size + this.#old.size > 0) {
      for (const key of write.keys) this.#forget(key.toString('latin1'));
    }
  }

  #forget(name: string): void {
    this.#young.delete(name);
    this.#old.delete(name);
  }

  #remember(name: string, end: End): void {
    if (this.#young.size >= MOST_KEYS / 2) {
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

/** Of its keys, or of fields, in ms; what has passed is not late anywhere. 0: it has none. */
function timeToLive({ args, ttlAt }: Replay): number {
  return ttlAt === undefined ? 0 : Math.max(0, Number(args[ttlAt]));
}

/** For how many ms its keys live then. Undefined: it does not say so. */
function lastsFor(replay: Replay): number | undefined {
  return replay.command.startsWith('H') ? undefined : timeToLive(replay) || undefined;
}

/** When its keys end, in `performance.now()`. Undefined: it names no moment. */
function endOf(replay: Replay): number | undefined {
  const [word, time] = lifetimeOf(replay);
  const unitMs = MOMENTS[word];
  return unitMs === undefined ? undefined : performance.now() + Number(time) * unitMs - Date.now();
}

/** The word, in upper case, with which it says how long its keys live, and the time behind it. */
function lifetimeOf({ command, args }: Replay): readonly [word: string, time?: Argument] {
  if (command === 'RESTORE') return [args.slice(3).some((word) => isToken(word, 'ABSTTL')) ? 'ABSTTL' : '', args[1]!];
  if (command !== 'SET' && command !== 'MSETEX') return [command, args[1]!];
  const at = command === 'SET' ? 2 : 1 + 2 * Number(args[0]);
  return [String(args[at] ?? '').toUpperCase(), args[at + 1]!];
}

const ENDED = {
  code: 'EXPIRED_MEANWHILE',
  message: 'while this write was on its way its key ended: one side may have made a new key of it, which does not end',
};
const DRIFTED = {
  code: 'EXPIRY_DRIFTED',
  message: 'the time to live took longer to the target than usual, so the key may end later there',
};
