/**
 * Intents (see `entry.ts`) that this consumer was given too early: it looks at them again
 * when they have come of age.
 */
import type { ConsumerGroup, DeliveredEntry } from './consumer-group.js';
import { intentUntil } from './entry.js';

/**
 * They stay assigned to this consumer. If it dies, another claims them and judges them anew. Where
 * that happens while this one lives (their grace is longer than the time after which entries are
 * claimed), both may hand them out: twice, under one id.
 */
export class HeldIntents {
  readonly #group: ConsumerGroup;
  /** When they come of age, by `performance.now()`. */
  readonly #held = new Map<string, number>();

  constructor(group: ConsumerGroup) {
    this.#group = group;
  }

  /** @returns the entries that can be worked on now, in their order; the others are held */
  async holdYoung(entries: readonly DeliveredEntry[]): Promise<DeliveredEntry[]> {
    const untils = entries.map(intentUntil);
    if (untils.every((until) => until === null)) return [...entries];
    const serverNow = await this.#group.nowMs();
    const now = performance.now();
    return entries.filter(({ id }, index) => {
      const leftMs = (untils[index] ?? 0) - serverNow;
      if (leftMs > 0) this.#held.set(id, now + leftMs);
      else this.#held.delete(id);
      return leftMs <= 0;
    });
  }

  /**
   * Takes out up to `count` held ones that have come of age, and forgets those that their
   * application has removed.
   */
  async takeRipe(count: number): Promise<DeliveredEntry[]> {
    const now = performance.now();
    const ids = [...this.#held]
      .filter(([, at]) => at <= now)
      .map(([id]) => id)
      .slice(0, count);
    if (ids.length === 0) return [];
    const entries = await this.#group.fetch(ids);
    const left = new Set(entries.map(({ id }) => id));
    const removed = ids.filter((id) => !left.has(id));
    if (removed.length > 0) await this.#group.finish(removed);
    for (const id of ids) this.#held.delete(id);
    return entries;
  }
}
