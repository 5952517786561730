/** The question whose marks were found behind the writes of a departure, until it is answered. */
import { isReplyError, markOf, slotOf } from '../../redis/index.js';
import type { Flight } from './flight.js';
import { crossed, LEAVE_MARKS, MARK_MS, MARKS_AT_ONCE, type Marks, mayHaveCrossed } from './marks.js';
import { replyFailure } from './mirror-answers.js';
import type { Replay } from './replay.js';
import { StandIn } from './stand-in.js';

/** One key, and which flights of the departure write it. */
interface Marked {
  readonly key: Buffer;
  readonly name: string;
  /** `sinceMs`: when the oldest of its writes was given to the source. */
  readonly flights: { readonly flight: Flight; readonly sinceMs: number }[];
}

/** What a Cluster says of keys whose slot is on its way to another node. */
const MOVES = new Set(['MOVED', 'ASK', 'TRYAGAIN']);

export class MarkCheck extends StandIn {
  readonly #marks: Marks;
  readonly #marked: readonly Marked[];
  readonly #flights: ReadonlySet<Flight>;

  constructor(marks: Marks, marked: readonly Marked[]) {
    super();
    this.#marks = marks;
    this.#marked = marked;
    this.#flights = new Set(marked.flatMap(({ flights }) => flights.map(({ flight }) => flight)));
    for (const flight of this.#flights) flight.awaitMarks();
  }

  get command(): Replay {
    const { length } = this.#marked;
    const names = this.#marked.map(({ key }) => markOf(key));
    return { command: 'EVAL', args: [LEAVE_MARKS, `${length}`, ...names, this.#marks.writer, `${MARK_MS}`] };
  }

  resolve = (reply: unknown): void => {
    this.#marks.taken();
    const now = performance.now();
    const ago = reply as readonly unknown[];
    const targetMs = Number(ago[this.#marked.length] ?? Number.NaN);
    const crossings = new Map<Flight, Buffer[]>();
    for (const [index, { key, name, flights }] of this.#marked.entries()) {
      const otherMs = this.#marks.writtenByOther(name, Number(ago[index]), now);
      for (const { flight, sinceMs } of flights) {
        if (!mayHaveCrossed(sinceMs, otherMs, now)) continue;
        const keys = crossings.get(flight);
        if (keys) keys.push(key);
        else crossings.set(flight, [key]);
      }
    }
    for (const flight of this.#flights) {
      const keys = crossings.get(flight);
      flight.marked(keys && crossed(keys), targetMs);
    }
  };

  reject = (error: unknown): void => {
    // Without an answer nobody knows whether it has crossed: as if its own was missing.
    if (!isReplyError(error)) {
      for (const flight of this.#flights) flight.marksLost(error);
      return;
    }
    // What the target refused together with the writes says nothing of the marks.
    const mirrored = [...this.#flights].filter((flight) => flight.isMirrored);
    const failure = replyFailure(error);
    if (MOVES.has(failure.error.code)) {
      // Of a slot on its way: no reason to go without marks, but nobody knows what crossed.
      for (const flight of this.#flights) flight.marked(crossed(this.#marked.map(({ key }) => key)));
      return;
    }
    if (mirrored.length > 0) this.#marks.refused(failure.error.message);
    for (const { unit } of mirrored) this.#marks.unmarked += unit.length;
    for (const flight of this.#flights) flight.marked(undefined);
  };
}

/**
 * The checks to be sent behind these flights, in the same buffer.
 * @param perSlot in a Cluster, where a script has the keys of one slot
 */
export function checksOf(marks: Marks, flights: readonly Flight[], perSlot: boolean): MarkCheck[] {
  const groups = new Map<number, Map<string, Marked>>();
  for (const flight of flights) {
    for (const { write, sinceMs } of flight.unit) {
      for (const key of write.keys) {
        const slot = perSlot ? slotOf(key) : 0;
        const group = groups.get(slot) ?? new Map<string, Marked>();
        groups.set(slot, group);
        note(group, key, flight, sinceMs);
      }
    }
  }
  const checks: MarkCheck[] = [];
  for (const group of groups.values()) {
    const all = [...group.values()];
    for (let first = 0; first < all.length; first += MARKS_AT_ONCE) {
      checks.push(new MarkCheck(marks, all.slice(first, first + MARKS_AT_ONCE)));
    }
  }
  return checks;
}

function note(group: Map<string, Marked>, key: Buffer, flight: Flight, sinceMs: number): void {
  const name = key.toString('latin1');
  const marked = group.get(name);
  if (marked === undefined) {
    group.set(name, { key, name, flights: [{ flight, sinceMs }] });
    return;
  }
  // Of several writes in a unit the first is the oldest.
  if (marked.flights.at(-1)!.flight !== flight) marked.flights.push({ flight, sinceMs });
}
