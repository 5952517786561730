/**
 * A line when a service stops taking what it is given and one when it is over; at most one pair a
 * minute if that flaps.
 */
import type { Logger } from 'pino';

const LINE_EVERY_MS = 60_000;

export class Outage {
  #since: number | null = null;
  #lastLine = Number.NEGATIVE_INFINITY;
  #announced = false;

  readonly #logger: Logger;
  readonly #what: string;
  readonly #meanwhile: string;

  /**
   * @param what what does not work, for example `Temporal does not take signals`
   * @param meanwhile what that means, as a sentence
   */
  constructor(
    logger: Logger,
    what: string,
    meanwhile = 'No record is lost: all stay where they are and are tried again.',
  ) {
    this.#logger = logger;
    this.#what = what;
    this.#meanwhile = meanwhile;
  }

  /** @param reason one line, without a full stop */
  failed(reason: string): void {
    const now = Date.now();
    this.#since ??= now;
    if (now - this.#lastLine < LINE_EVERY_MS) return;
    this.#lastLine = now;
    this.#announced = true;
    const lasting = this.#lasting(now);
    this.#logger.warn(`${this.#what}${lasting}: ${reason}. ${this.#meanwhile}`);
  }

  worked(): void {
    if (this.#announced) this.#logger.info(`over${this.#lasting(Date.now())}: ${this.#what}`);
    this.#announced = false;
    this.#since = null;
  }

  get isOn(): boolean {
    return this.#since !== null;
  }

  #lasting(now: number): string {
    const seconds = this.#since === null ? 0 : Math.round((now - this.#since) / 1000);
    return seconds > 0 ? ` (for ${seconds} s)` : '';
  }
}

/** The first line of whatever was thrown. */
export function lineOf(error: unknown): string {
  return messageOf(error).split('\n')[0]!;
}

/** The message of whatever was thrown. */
export function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
