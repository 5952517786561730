/**
 * What happened when while the demo ran: what the link did, how many writes had failed, how many
 * keys differed and how many had become equal again. The keys are compared, not what keymend says
 * of them.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import type { Comparison } from './compare.js';

/** Something that lasts until the next of its kind. Times are in ms since the timeline began. */
export interface Since {
  readonly name: string;
  readonly at: number;
}

export interface Sample {
  readonly at: number;
  /** So far. */
  readonly failedWrites: number;
  /** Keys, now. */
  readonly diverged: number;
  /** Keys that had differed at one look and did not at a later one, so far. */
  readonly healed: number;
}

/** What the picture is made of. */
export interface TimelineRecord {
  readonly beganAt: Date;
  readonly links: readonly Since[];
  readonly acts: readonly Since[];
  readonly samples: readonly Sample[];
  readonly endedAt: number;
}

const LEAST_PAUSE_MS = 500;
/** Of the time a look took, so that looking takes little of the machine. */
const REST = 4;

export class Timeline {
  readonly #beganAt = new Date();
  readonly #began = performance.now();
  readonly #links: Since[] = [];
  readonly #acts: Since[] = [];
  readonly #samples: Sample[] = [];
  #failedWrites = 0;
  #differing = new Set<string>();
  #healed = 0;

  /** The link is so from now on. */
  link(name: string): void {
    this.#links.push({ name, at: this.#now() });
  }

  act(name: string): void {
    this.#acts.push({ name, at: this.#now() });
  }

  /** A failed write was recorded. */
  readonly failed = (): void => {
    this.#failedWrites += 1;
  };

  /** Takes a comparison that was made for another reason. */
  compared({ differences }: Comparison): void {
    const differing = new Set(differences.map(({ key }) => key.toString('latin1')));
    for (const key of this.#differing) if (!differing.has(key)) this.#healed += 1;
    this.#differing = differing;
    const failedWrites = this.#failedWrites;
    this.#samples.push({ at: this.#now(), failedWrites, diverged: differing.size, healed: this.#healed });
  }

  /** Compares again and again until aborted. Never rejects. */
  async watch(compare: () => Promise<Comparison>, signal: AbortSignal): Promise<void> {
    while (!signal.aborted) {
      const began = performance.now();
      // A key that goes or comes between two reads of it may fail a look; the next one is soon.
      await compare().then(
        (comparison) => this.compared(comparison),
        () => {},
      );
      const pause = Math.max(LEAST_PAUSE_MS, REST * (performance.now() - began));
      await sleep(pause, undefined, { signal }).catch(() => {});
    }
  }

  record(): TimelineRecord {
    return {
      beganAt: this.#beganAt,
      links: this.#links,
      acts: this.#acts,
      samples: this.#samples,
      endedAt: this.#now(),
    };
  }

  #now(): number {
    return performance.now() - this.#began;
  }
}
