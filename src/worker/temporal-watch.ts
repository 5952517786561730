/** One line when Temporal is away, and one when it is back, whatever the core of the SDK says. */
import type { NativeConnection } from '@temporalio/worker';
import type { Logger } from 'pino';
import { Outage } from '../patience/outage.js';

const ASK_EVERY_MS = 2_000;

/**
 * The core polls with many calls at once, and tells of each that it tries again, several a second.
 * When one gets through it tells nothing, so that is asked for.
 */
export class TemporalWatch {
  readonly #outage: Outage;
  readonly #address: string;
  #connection: NativeConnection | null = null;
  #timer: NodeJS.Timeout | null = null;

  constructor(address: string, logger: Logger) {
    this.#address = address;
    this.#outage = new Outage(logger, `Temporal at ${address} does not answer the worker`);
  }

  /** Begins to ask over this connection whether it is back. */
  over(connection: NativeConnection): void {
    this.#connection = connection;
  }

  /** A call has failed several times. */
  failed(): void {
    this.#outage.failed(`calls fail again and again; check that it runs and that ${this.#address} can be reached`);
    this.#ask();
  }

  close(): void {
    this.#connection = null;
    if (this.#timer !== null) clearTimeout(this.#timer);
  }

  #ask(): void {
    if (this.#connection === null || this.#timer !== null) return;
    this.#timer = setTimeout(async () => {
      const connection = this.#connection;
      const asked = await connection
        ?.withDeadline(Date.now() + ASK_EVERY_MS, () => connection.workflowService.getSystemInfo({}))
        .then(
          () => true,
          () => false,
        );
      this.#timer = null;
      if (asked === false) this.#ask();
      else if (asked) this.#outage.worked();
    }, ASK_EVERY_MS);
    this.#timer.unref();
  }
}
