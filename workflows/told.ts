/**
 * Whether a failed write came behind the cancel of its run: within one task signals come first,
 * whatever their order was, so any but the one that the run was started with may have.
 */
import { workflowInfo } from '@temporalio/workflow';

export class Told {
  /** How often the task that begins at this length of the history has told of writes. */
  #last = { at: workflowInfo().historyLength, times: 0 };
  /** Where a run began that goes on for no other. */
  readonly #begunAt: number | null;

  constructor(isFirst: boolean) {
    this.#begunAt = isFirst ? workflowInfo().historyLength : null;
  }

  note(): void {
    const at = workflowInfo().historyLength;
    this.#last = { at, times: this.#last.at === at ? this.#last.times + 1 : 1 };
  }

  /** Asked in the moment of the cancel. */
  mayFollowCancel(): boolean {
    const { at, times } = this.#last;
    return at === workflowInfo().historyLength && times > (at === this.#begunAt ? 1 : 0);
  }
}
