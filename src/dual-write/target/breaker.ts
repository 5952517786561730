/** Stops sending to a target that does not answer, and finds out when it answers again. */
import { type Pauses, pauseAfter } from '../../patience/pause.js';

export type BreakerState = 'closed' | 'open';

export interface BreakerOptions {
  /**
   * So many connections in a row that broke, were reset or did not come about, without an answer in
   * between, open it. How many writes each of them cost does not matter. Default 3.
   */
  readonly failures?: number;
  /**
   * The first probe comes so long after it opened, in ms; each further one takes twice as long.
   * Default 100.
   */
  readonly minProbeMs?: number;
  /** The longest time between two probes, in ms. Default 5,000. */
  readonly maxProbeMs?: number;
}

export class Breaker {
  readonly #failures: number;
  readonly #pauses: Pauses;
  readonly #probe: () => Promise<boolean>;
  readonly #onChange: (state: BreakerState) => void;
  #state: BreakerState = 'closed';
  #failedInARow = 0;
  #timer: NodeJS.Timeout | undefined;
  #stopped = false;

  /**
   * @param probe asks the target for any answer
   * @param onChange is told each change
   */
  constructor(options: BreakerOptions, probe: () => Promise<boolean>, onChange: (state: BreakerState) => void) {
    this.#failures = options.failures ?? 3;
    this.#pauses = { firstMs: options.minProbeMs ?? 100, longestMs: options.maxProbeMs ?? 5000 };
    this.#probe = probe;
    this.#onChange = onChange;
  }

  /** Open: nothing but probes shall be sent. */
  get state(): BreakerState {
    return this.#state;
  }

  /** A write was answered. */
  succeeded(): void {
    this.#failedInARow = 0;
  }

  /** A connection has ended, or did not come about, and writes were not answered. */
  failed(): void {
    this.#failedInARow += 1;
    if (this.#stopped || this.#state === 'open' || this.#failedInARow < this.#failures) return;
    this.#change('open');
    this.#probeAgain(0);
  }

  /**
   * For good: from now on it neither probes nor changes, whatever becomes of the writes that are
   * still under way.
   */
  stop(): void {
    this.#stopped = true;
    clearTimeout(this.#timer);
    this.#timer = undefined;
  }

  #change(state: BreakerState): void {
    this.#state = state;
    this.#failedInARow = 0;
    this.#onChange(state);
  }

  /** @param unanswered how many probes were, since it opened */
  #probeAgain(unanswered: number): void {
    const pauseMs = pauseAfter(unanswered + 1, this.#pauses);
    // Jitter: not all writers of a fleet at once, when the target that they all lost comes back.
    const delayMs = pauseMs * (0.75 + Math.random() / 2);
    const timer = setTimeout(async () => {
      const answered = await this.#probe();
      // Stopped meanwhile.
      if (this.#timer !== timer) return;
      if (answered) this.#change('closed');
      else this.#probeAgain(unanswered + 1);
    }, delayMs);
    this.#timer = timer;
    // Probing alone is no reason for a process to live on.
    timer.unref();
  }
}
