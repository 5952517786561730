/** One line when a service stops taking what it is given, one a minute while that lasts, and one when it is over. */
import type { Logger } from 'pino';

const REPEAT_EVERY_MS = 60_000;

export class Outage {
  private since: number | null = null;
  private lastLine = 0;

  /** @param what what does not work, for example `Temporal does not take signals` */
  constructor(
    private readonly logger: Logger,
    private readonly what: string,
  ) {}

  failed(reason: string): void {
    const now = Date.now();
    if (this.since !== null && now - this.lastLine < REPEAT_EVERY_MS) return;
    this.since ??= now;
    this.lastLine = now;
    this.logger.warn(
      `${this.what}${this.lasting(now)}: ${reason}. Nothing is lost: records stay where they are and are tried again.`,
    );
  }

  worked(): void {
    if (this.since === null) return;
    this.logger.info(`over${this.lasting(Date.now())}: ${this.what}`);
    this.since = null;
  }

  private lasting(now: number): string {
    const seconds = this.since === null ? 0 : Math.round((now - this.since) / 1000);
    return seconds > 0 ? ` (for ${seconds} s)` : '';
  }
}
