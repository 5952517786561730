/**
 * That a run was cancelled, and whether a failed write came behind that: within one task signals
 * come first, whatever their order was, so any but the one that the run was started with may have.
 * How such a run ends is in `cancelled.ts`.
 */
import { workflowInfo } from '@temporalio/workflow';

export class Cancel {
  #isAsked = false;
  #mayBeFollowed = false;
  /** How often the task that begins at this length of the history has told of writes. */
  #last = { at: workflowInfo().historyLength, times: 0 };
  /** Where a run began that goes on for no other. */
  readonly #begunAt: number | null;

  /** @param isFirst it goes on for no other run */
  constructor(isFirst: boolean) {
    this.#begunAt = isFirst ? workflowInfo().historyLength : null;
  }

  /** The run is told of failed writes. */
  noteWrites(): void {
    const at = workflowInfo().historyLength;
    this.#last = { at, times: this.#last.at === at ? this.#last.times + 1 : 1 };
  }

  ask(): void {
    const { at, times } = this.#last;
    this.#mayBeFollowed = at === workflowInfo().historyLength && times > (at === this.#begunAt ? 1 : 0);
    this.#isAsked = true;
  }

  get isAsked(): boolean {
    return this.#isAsked;
  }

  /** A write that was told of in the task of the cancel may have failed after it. */
  get mayBeFollowed(): boolean {
    return this.#mayBeFollowed;
  }
}
