/**
 * By what a redelivered failed write is known. Redeliveries come soon after the first delivery or
 * not at all, so the newest ids are enough; their number and their bytes are bounded, because they
 * travel to the next run.
 */
import { jsonBytes } from './json-bytes.js';

const MOST_IDS = 1_000;
const MOST_BYTES = 64 * 1024;

export class SeenIds {
  readonly #ids = new Set<string>();
  /** Oldest first, from `#oldest` on. */
  #order: string[] = [];
  #oldest = 0;
  #bytes = 0;

  /** @param ids oldest first */
  constructor(ids: readonly string[]) {
    for (const id of ids) this.add(id);
  }

  has(id: string): boolean {
    return this.#ids.has(id);
  }

  /** Costs the same however many are known. */
  add(id: string): void {
    const bytes = jsonBytes(id);
    // No id of a record is as long. It is new each time, and drives no other out.
    if (bytes > MOST_BYTES || this.#ids.has(id)) return;
    this.#ids.add(id);
    this.#order.push(id);
    this.#bytes += bytes;
    while (this.#ids.size > MOST_IDS || this.#bytes > MOST_BYTES) this.#forgetOldest();
  }

  /** Oldest first. */
  toArray(): readonly string[] {
    return this.#order.slice(this.#oldest);
  }

  #forgetOldest(): void {
    const id = this.#order[this.#oldest]!;
    this.#oldest += 1;
    this.#ids.delete(id);
    this.#bytes -= jsonBytes(id);
    if (this.#oldest <= MOST_IDS) return;
    this.#order = this.#order.slice(this.#oldest);
    this.#oldest = 0;
  }
}
