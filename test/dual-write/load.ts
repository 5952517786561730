/** An application that writes while servers fail over. */
import { setTimeout as sleep } from 'node:timers/promises';
import type { DualWriter } from '../../src/dual-write/dual-writer.js';

const WRITERS = 4;

/**
 * Writes that run on until `stop`: each to a key of its own, so that each tells by itself what
 * became of it.
 */
export class Load {
  written = 0;
  /** Keys whose write the source answered with an error. */
  readonly failed: string[] = [];
  /** The keys of the writes that the source has not answered yet. */
  readonly #waiting = new Set<string>();
  #running = true;
  readonly #done: Promise<unknown>;

  constructor(writer: DualWriter) {
    this.#done = Promise.all(
      Array.from({ length: WRITERS }, async () => {
        while (this.#running) {
          const key = `k${this.written++}`;
          this.#waiting.add(key);
          await writer.set(key, 'v').catch(() => this.failed.push(key));
          this.#waiting.delete(key);
          await sleep(1);
        }
      }),
    );
  }

  /** Until so many more writes have begun. */
  async more(count: number): Promise<void> {
    const enough = this.written + count;
    while (this.written < enough) await sleep(1);
  }

  /** Until every writer waits for a source that does not answer. */
  async stuck(): Promise<void> {
    // The same writes through many turns of the event loop: an answer that was on its way when the
    // source fell silent has been read by then.
    for (let turns = 0, last = ''; turns < 50; turns++) {
      const waiting = [...this.#waiting].join();
      if (this.#waiting.size < WRITERS || waiting !== last) turns = 0;
      last = waiting;
      await sleep(1);
    }
  }

  async stop(): Promise<void> {
    this.#running = false;
    await this.#done;
  }
}

/** Whether the key is one of a load's first so many. */
export function isBefore(count: number): (key: string) => boolean {
  return (key) => /^k\d+$/.test(key) && Number(key.slice(1)) < count;
}
