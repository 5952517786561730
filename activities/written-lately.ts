/**
 * What first attempts have done to the target, by their names. When the server does not take the
 * task that one was part of, it is made again under the same name, and what it did before would be
 * forgotten.
 */
import type { Earlier } from '../workflows/activities.js';
import { type Attempted, effectOf } from './effect.js';

const MOST_KEPT = 10_000;

export class WrittenLately {
  readonly #effects = new Map<string, Earlier>();

  /**
   * Makes an attempt, whose reply then says what was known of the same one made earlier.
   * @throws what `attempt` throws; what it did is not known then
   */
  async remembering(name: string, attempt: () => Promise<Attempted>): Promise<Attempted> {
    const earlier = this.#effects.get(name);
    let effect: Earlier = 'unknown';
    try {
      const attempted = await attempt();
      effect = effectOf(attempted.result);
      return earlier === undefined ? attempted : { ...attempted, earlier, lookAgain: true };
    } finally {
      if (effect !== 'nothing' && earlier !== 'unknown') this.#note(name, effect);
    }
  }

  #note(name: string, effect: Earlier): void {
    this.#effects.delete(name);
    this.#effects.set(name, effect);
    if (this.#effects.size > MOST_KEPT) this.#effects.delete(this.#effects.keys().next().value!);
  }
}
