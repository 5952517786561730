/** The names of the dead letters of a key, so that each is known when it is published again. */
import { workflowInfo } from '@temporalio/workflow';
import type { Letter } from './activities.js';
import type { CarriedState } from './run-state.js';

export class Letters {
  #count = 0;
  /** The one of the escalation; null: not escalated, or a run of an earlier version began it. */
  #current: Letter | null;

  constructor({ letter = null }: Pick<CarriedState, 'letter'>) {
    this.#current = letter;
  }

  /**
   * A new one: the same in every replay, and another one than any run of this key has had. Counted
   * by each run for itself, for one of an earlier version in between would carry no count on.
   */
  next(): Letter {
    this.#count += 1;
    return { id: `${workflowInfo().runId}/${this.#count}` };
  }

  beginEscalation(): void {
    this.#current = this.next();
  }

  /** @param end where the dead letters end, before anybody has published this one */
  noteEnd(end: readonly string[]): void {
    if (this.#current !== null) this.#current = { behind: end, ...this.#current };
  }

  /** @param isContinued an earlier run may have published it */
  ofEscalation(isContinued: boolean): Letter {
    this.#current ??= this.next();
    return isContinued ? { ...this.#current, mayBeThere: true } : this.#current;
  }

  endEscalation(): void {
    this.#current = null;
  }

  carried(): Required<Pick<CarriedState, 'letter'>> {
    return { letter: this.#current };
  }
}
