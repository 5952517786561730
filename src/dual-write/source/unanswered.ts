/** Writes that the source has not answered yet. */
import { blockMs } from './block.js';
import type { Write } from './write.js';

/** A write's place among them. */
export interface Awaited {
  readonly write: Write;
  /** In the order in which they were sent. */
  readonly number: number;
  /** When it was given to the source, in `performance.now()`. */
  readonly sinceMs: number;
  /** The connection that it was written to last, unless it was given up since. */
  connection: object | undefined;
  /** When it was first looked at since then; 0: never. */
  lookedAtMs: number;
  /** Where the list has it; -1: no longer. */
  index: number;
}

/**
 * A Set would do the same. But at tens of thousands of writes a second it leaves old tables behind,
 * each of which holds on to the next. They make the pauses of the garbage collector several times
 * as long.
 */
export class Unanswered {
  readonly #maxAgeMs: number;
  readonly #onOld: (writes: Write[]) => void;
  readonly #all: Awaited[] = [];
  #added = 0;
  #timer: NodeJS.Timeout | undefined;
  #whenNone: (() => void)[] = [];

  /**
   * @param onOld is told once of what the source leaves unanswered for so long, and up to half as
   *   long again: ioredis does not settle everything that it will not send again. It stays in here.
   */
  constructor(maxAgeMs: number, onOld: (writes: Write[]) => void) {
    this.#maxAgeMs = maxAgeMs;
    this.#onOld = onOld;
  }

  get size(): number {
    return this.#all.length;
  }

  add(write: Write): Awaited {
    const awaited = {
      write,
      number: this.#added,
      sinceMs: performance.now(),
      connection: undefined,
      lookedAtMs: 0,
      index: -1,
    };
    this.#added += 1;
    this.#append(awaited);
    return awaited;
  }

  /** Also one that was given up is awaited again: the application may connect an ended client. */
  written(awaited: Awaited, connection: object): void {
    awaited.connection = connection;
    awaited.lookedAtMs = 0;
    if (awaited.index < 0) this.#append(awaited);
  }

  /**
   * Does nothing when it is removed already: a write that was given up may be answered after all.
   */
  remove(awaited: Awaited): void {
    if (awaited.index < 0) return;
    const last = this.#all.pop()!;
    if (last !== awaited) {
      this.#all[awaited.index] = last;
      last.index = awaited.index;
    }
    awaited.index = -1;
    if (this.#all.length > 0) return;
    for (const resolve of this.#whenNone) resolve();
    this.#whenNone = [];
  }

  /** @returns whether it may be carried out, and was not given up since it was last written */
  giveUp(awaited: Awaited): boolean {
    this.remove(awaited);
    const isNew = awaited.connection !== undefined;
    awaited.connection = undefined;
    return isNew;
  }

  /** Gives up some. @returns them in the order in which they were sent */
  take(which: (awaited: Awaited) => boolean): Write[] {
    const taken = this.#all.filter(which);
    for (const awaited of taken) this.giveUp(awaited);
    return inOrder(taken);
  }

  /** Resolves when there are none. */
  none(): Promise<void> {
    return new Promise((resolve) => {
      if (this.#all.length === 0) resolve();
      else this.#whenNone.push(resolve);
    });
  }

  #append(awaited: Awaited): void {
    awaited.index = this.#all.length;
    this.#all.push(awaited);
    this.#timer ??= setTimeout(this.#look, this.#maxAgeMs / 2).unref();
  }

  /** No write has a time of its own: most are answered before anybody looks. */
  readonly #look = (): void => {
    this.#timer = undefined;
    if (this.#all.length === 0) return;
    this.#timer = setTimeout(this.#look, this.#maxAgeMs / 2).unref();
    const nowMs = performance.now();
    const old: Awaited[] = [];
    for (const awaited of this.#all) {
      if (awaited.connection === undefined) continue;
      awaited.lookedAtMs ||= nowMs;
      const ageMs = nowMs - awaited.lookedAtMs;
      if (ageMs < this.#maxAgeMs || ageMs < this.#maxAgeMs + blockMs(awaited.write)) continue;
      awaited.lookedAtMs = Number.POSITIVE_INFINITY;
      old.push(awaited);
    }
    if (old.length > 0) this.#onOld(inOrder(old));
  };
}

function inOrder(list: readonly Awaited[]): Write[] {
  return list.toSorted((a, b) => a.number - b.number).map(({ write }) => write);
}
