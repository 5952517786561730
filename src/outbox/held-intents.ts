/**
 * Intents (see `entry.ts`) that this consumer was given too early: it looks at them again
 * when they have come of age.
 */
import type { ConsumerGroup, DeliveredEntry } from './consumer-group.js';
import { intentUntil } from './entry.js';

/**
 * They stay assigned to this consumer, and after `claimMs` are claimed like all that nobody has
 * finished, here or by another. So only those are held that come of age before: their number is
 * bounded by that time, not by how long a grace is (that of a blocking pop is a day). Where an
 * entry is claimed while it is held, both may hand it out: twice, under one id.
 */
export class HeldIntents {
  readonly #group: ConsumerGroup;
  readonly #claimMs: number;
  /** When they come of age, rounded up: `performance.now()` by `TICK_MS`. */
  readonly #ticks = new Map<string, number>();
  /** The same the other way round. */
  readonly #ripening = new Map<number, Set<string>>();

  /** @param claimMs after how long an entry that is not finished is claimed */
  constructor(group: ConsumerGroup, claimMs: number) {
    this.#group = group;
    this.#claimMs = claimMs;
  }

  /** @returns the entries that can be worked on now, in their order; of the others some are held */
  async holdYoung(entries: readonly DeliveredEntry[]): Promise<DeliveredEntry[]> {
    const untils = entries.map(intentUntil);
    if (untils.every((until) => until === null)) return [...entries];
    const serverNow = await this.#group.nowMs();
    const now = performance.now();
    return entries.filter(({ id }, index) => {
      const leftMs = (untils[index] ?? 0) - serverNow;
      if (leftMs <= 0) this.#drop(id);
      else if (leftMs <= this.#claimMs) this.#hold(id, now + leftMs);
      return leftMs <= 0;
    });
  }

  /**
   * Takes out up to `count` held ones that have come of age, and forgets those that their
   * application has removed.
   * @returns none where all of these were removed; null: none has come of age
   */
  async takeRipe(count: number): Promise<DeliveredEntry[] | null> {
    const ids = this.#ripe(count);
    if (ids.length === 0) return null;
    const entries = await this.#group.fetch(ids);
    const left = new Set(entries.map(({ id }) => id));
    const removed = ids.filter((id) => !left.has(id));
    if (removed.length > 0) await this.#group.finish(removed);
    for (const id of ids) this.#drop(id);
    return entries;
  }

  #hold(id: string, at: number): void {
    if (this.#ticks.has(id)) return;
    const tick = Math.ceil(at / TICK_MS);
    this.#ticks.set(id, tick);
    const ids = this.#ripening.get(tick);
    if (ids === undefined) this.#ripening.set(tick, new Set([id]));
    else ids.add(id);
  }

  #drop(id: string): void {
    const tick = this.#ticks.get(id);
    if (tick === undefined) return;
    this.#ticks.delete(id);
    const ids = this.#ripening.get(tick)!;
    ids.delete(id);
    if (ids.size === 0) this.#ripening.delete(tick);
  }

  #ripe(count: number): string[] {
    const now = performance.now();
    const ripe: string[] = [];
    for (const [tick, ids] of this.#ripening) {
      if (tick * TICK_MS > now) continue;
      for (const id of ids) {
        if (ripe.length === count) return ripe;
        ripe.push(id);
      }
    }
    return ripe;
  }
}

/** So long that a pass looks at few of them, so short that nobody notices the wait. */
const TICK_MS = 100;
