/**
 * Marks of the writers, on the target, beside what they have mirrored. The source carries out A's
 * write and then B's; on their ways to the target they can overtake each other, and nobody would
 * know. So each writer leaves its mark behind its writes, and is told of another's that it finds.
 *
 * Why one of two that crossed always hears of it: each leaves its mark after its write, and a
 * script reads and replaces a mark in one step. So the later of the two marks meets the earlier,
 * whatever the order of the writes was.
 *
 * Why nobody is told who can't have crossed: the mark says how long ago it was left. If that was
 * before a write was sent to the source, then the other's write was carried out on both sides
 * before this one began. Ages are compared, never the clocks of two machines.
 */
import type { MirrorFailure } from './mirror-failure.js';

/**
 * How long a mark lives. A write that took longer from the application to the target may have
 * crossed with one whose mark is gone, and is recorded.
 */
export const MARK_MS = 10_000;
/** For what the clocks of two machines differ by within the life of a mark, and for rounding. */
const MARGIN_MS = 20;
/** How long no marks are left after the target has refused them. */
const SUSPENDED_MS = 1_000;
/** Of how many it is remembered when another writer wrote them. */
const MOST_KEYS = 50_000;
/** So that no script holds the target for long. */
export const MARKS_AT_ONCE = 500;

/**
 * KEYS: the marks. ARGV: the writer, and the life of a mark in ms. Answers for each mark how many
 * ms ago another writer left it, or -1. Something else under its name is replaced. A right that is
 * missing shows at the first mark; a clock that was set back makes the age 0, not less. Behind them
 * the time of the target, in ms, if it may be asked.
 */
export const LEAVE_MARKS = `local ago = {}
for i, mark in ipairs(KEYS) do
local writer = redis.pcall('GET', mark)
if type(writer) == 'table' and not string.find(writer.err, 'WRONGTYPE', 1, true) then return writer end
local left = redis.call('PTTL', mark)
ago[i] = -1
if type(writer) == 'string' and writer ~= ARGV[1] then ago[i] = math.max(0, ARGV[2] - left) end
redis.call('SET', mark, ARGV[1], 'PX', ARGV[2])
end
local time = redis.pcall('TIME')
if time[1] then ago[#ago + 1] = time[1] * 1000 + math.floor(time[2] / 1000) end
return ago`;

/** Whether the target takes marks. `reason`: one line, without the application's data. */
export type MarksChange =
  | { readonly shard: string; readonly state: 'suspended'; readonly reason: string }
  | { readonly shard: string; readonly state: 'active'; readonly reason?: undefined };

/** Of one master of the target, as one writer knows them. */
export class Marks {
  readonly writer: string;
  readonly #onChange: (change: MarksChange) => void;
  readonly #shard: string;
  #suspendedUntil = Number.NEGATIVE_INFINITY;
  #isSuspended = false;
  /**
   * When another's mark was left, by key, in `performance.now()`. Once replaced by ours it can't be
   * found any more, but a write of ours that comes behind may have crossed with the other's too.
   * Two generations: each is remembered for one to two lives of a mark, if there are no more keys.
   */
  #young = new Map<string, number>();
  #old = new Map<string, number>();
  #turnedAt = 0;
  /** The newest mark of a key that is forgotten: any key may be the one. */
  #forgottenMs = Number.NEGATIVE_INFINITY;
  /** Writes that were mirrored without a mark. */
  unmarked = 0;

  /** @param writer tells it from all others, also from the one that was here before a restart */
  constructor(writer: string, shard: string, onChange: (change: MarksChange) => void) {
    this.writer = writer;
    this.#shard = shard;
    this.#onChange = onChange;
  }

  /** Whether to leave marks now. */
  areLeft(): boolean {
    return performance.now() >= this.#suspendedUntil;
  }

  taken(): void {
    // What left before the refusal says nothing of now.
    if (!this.#isSuspended || !this.areLeft()) return;
    this.#isSuspended = false;
    this.#onChange({ shard: this.#shard, state: 'active' });
  }

  /** @param reason why the target does not take them, without data of the application */
  refused(reason: string): void {
    this.#suspendedUntil = performance.now() + SUSPENDED_MS;
    if (this.#isSuspended) return;
    this.#isSuspended = true;
    this.#onChange({ shard: this.#shard, state: 'suspended', reason });
  }

  /**
   * When another writer wrote a key on the target last, at the latest, in `performance.now()`;
   * -Infinity: not within the life of a mark. Of a key that was forgotten it may be later.
   * @param agoMs what the script has answered
   */
  writtenByOther(key: string, agoMs: number, nowMs: number): number {
    this.#turn(nowMs);
    if (agoMs >= 0) this.#young.set(key, nowMs - agoMs);
    return this.#young.get(key) ?? this.#old.get(key) ?? this.#forgottenMs;
  }

  #turn(nowMs: number): void {
    const ageMs = nowMs - this.#turnedAt;
    if (ageMs < MARK_MS && this.#young.size < MOST_KEYS / 2) return;
    for (const leftMs of this.#old.values()) this.#forgottenMs = Math.max(this.#forgottenMs, leftMs);
    this.#old = ageMs < 2 * MARK_MS ? this.#young : new Map();
    this.#young = new Map();
    this.#turnedAt = nowMs;
  }
}

/**
 * @param sinceMs when the write was given to the source, in `performance.now()`
 * @param otherMs what `writtenByOther` says
 */
export function mayHaveCrossed(sinceMs: number, otherMs: number, nowMs: number): boolean {
  return otherMs + MARGIN_MS > sinceMs || nowMs - sinceMs > MARK_MS - MARGIN_MS;
}

/** @param keys those that another writer may have written in between */
export function crossed(keys: readonly Buffer[]): MirrorFailure {
  return { outcome: 'unknown', error: CROSSED, keys, doubt: true };
}

const CROSSED = {
  code: 'CROSSED',
  message: 'while this write was on its way, another writer may have written the key: the later may have come first',
};
