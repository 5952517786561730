/**
 * Whether keys travel in batches: while the backlog is large or old, or a server of their link's
 * target is out. Else each has a workflow of its own.
 */
import type { Logger } from 'pino';
import type { SurgeConfig } from '../../config.js';
import type { Backlog } from '../../events/intake.js';
import { counted } from '../../plural.js';

/** What was said of a part of a log counts for so long: it may be another bridge's by now. */
const SAID_FOR_MS = 30_000;

/**
 * While few wait, or few come at a time while a server is out, each key has its own workflow: many
 * batches of few keys would use up how many may be open.
 */
const WORTH_A_BATCH = 50;
/** In a surge there are some with few keys all the same: the ends of what one fetch brings. */
const WORTH_A_BATCH_IN_SURGE = 10;

interface SurgeOptions {
  readonly config: SurgeConfig;
  /** Whether a server of the link's target does not answer. */
  readonly isOut: (link: string) => boolean;
  readonly logger: Logger;
}

export class Surge {
  readonly #options: SurgeOptions;
  readonly #said = new Map<string, { readonly backlog: Backlog; readonly at: number }>();
  /**
   * How many batches of each. Nothing more may be said before they are done: in an outage for as
   * long as that lasts.
   */
  readonly #inHand = new Map<string, number>();
  #isOn = false;
  #timer: NodeJS.Timeout | undefined;

  constructor(options: SurgeOptions) {
    this.#options = options;
  }

  /** Something of a part of a log is in hand, until `done`. */
  taken(place: string, backlog: Backlog): void {
    this.#inHand.set(place, (this.#inHand.get(place) ?? 0) + 1);
    this.noticed(place, backlog);
  }

  done(place: string): void {
    const others = this.#inHand.get(place)! - 1;
    if (others > 0) {
      this.#inHand.set(place, others);
      return;
    }
    this.#inHand.delete(place);
    const said = this.#said.get(place);
    if (said !== undefined) this.#said.set(place, { ...said, at: performance.now() });
    this.#decideLater();
  }

  /** Nothing was behind the batch of which `backlog` was said, unless more was said since. */
  through(place: string, backlog: Backlog): void {
    if (this.#said.get(place)?.backlog === backlog) this.noticed(place, { records: 0, ageMs: 0 });
  }

  /** What waits in a part of a log, the batch in hand included. */
  noticed(place: string, backlog: Backlog): void {
    const now = performance.now();
    this.#said.set(place, { backlog, at: now });
    for (const each of this.#said.keys()) if (!this.#counts(each, now)) this.#said.delete(each);
    this.#decide();
    this.#decideLater();
  }

  /** A bridge that has lost its parts of the log hears no more of them. */
  #decideLater(): void {
    clearTimeout(this.#timer);
    if (this.#isOn) this.#timer = setTimeout(() => this.#decide(), SAID_FOR_MS + 1_000).unref();
  }

  #decide(): void {
    const { records, ageMs } = this.backlog();
    const { enter, leave, age } = this.#options.config;
    const was = this.#isOn;
    const isOld = records >= WORTH_A_BATCH && ageMs >= age;
    this.#isOn = isOld || records >= (was ? Math.max(1, leave) : enter);
    if (was === this.#isOn) return;
    const waiting = `${counted(records, 'record')} wait, the oldest for ${Math.round(ageMs / 1_000)} s`;
    if (this.#isOn) this.#options.logger.warn({ records, ageMs }, `surge: ${waiting}; keys travel in batches now`);
    else
      this.#options.logger.info({ records, ageMs }, `surge is over: ${waiting}; each key has its own workflow again`);
  }

  /** What waits in all parts of the log of which something was said lately. */
  backlog(): Backlog {
    const now = performance.now();
    const all = [...this.#said]
      .filter(([place]) => this.#counts(place, now))
      // What is in hand goes on waiting: of it nothing more is said, however long Temporal is away.
      .map(([place, { backlog, at }]) =>
        this.#inHand.has(place) ? { ...backlog, ageMs: backlog.ageMs + now - at } : backlog,
      );
    const records = all.reduce((sum, each) => sum + each.records, 0);
    return { records, ageMs: Math.max(0, ...all.map(({ ageMs }) => ageMs)) };
  }

  #counts(place: string, now: number): boolean {
    return this.#inHand.has(place) || now - this.#said.get(place)!.at <= SAID_FOR_MS;
  }

  /** The backlog is so large or old that keys travel in batches. */
  get isOn(): boolean {
    return this.#isOn;
  }

  /** Whether keys of the link may go in a batch. */
  mayBatch(link: string): boolean {
    return this.#isOn || this.#options.isOut(link);
  }

  /** Whether so many keys of the link, which came together, go in a batch. */
  isFor(link: string, keys: number): boolean {
    if (keys >= WORTH_A_BATCH) return this.mayBatch(link);
    return this.#isOn && keys >= WORTH_A_BATCH_IN_SURGE;
  }
}
