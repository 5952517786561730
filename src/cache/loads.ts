/** Loads of this process: as the holder of a lease, or alone where there is none to be had. */
import { LARGE_VALUES } from '../defaults.js';
import { type Answers, LateRedis } from './answers.js';
import { Bounded } from './bounded.js';
import type { Fill, Filled, Leases } from './leases.js';
import { type Loaded, partsOf } from './versions.js';

export type Load = (from: 'anywhere' | 'primary') => Promise<Loaded>;

/** A load by the holder of a lease. Rejects with what the load threw. */
interface Flight {
  readonly token: string;
  /** In the order of `Loads.tick`. */
  readonly begun: number;
  /** `kept`: no delete has overtaken it. */
  readonly ended: Promise<{ readonly kept: boolean; readonly value: Buffer | null }>;
}

interface LoadsOptions {
  readonly ttlMs: number;
  readonly absentMs: number;
  readonly loadsWithoutRedis: number;
}

export class Loads {
  readonly #leases: Leases;
  readonly #answers: Answers;
  readonly #options: LoadsOptions;
  readonly #bounded: Bounded;
  /** By key. */
  readonly #flights = new Map<string, Flight>();
  /** Loads without a lease that have not begun, by key. */
  readonly #next = new Map<string, Promise<Buffer | null>>();
  #ticks = 0;

  constructor(leases: Leases, answers: Answers, options: LoadsOptions) {
    this.#leases = leases;
    this.#answers = answers;
    this.#options = options;
    this.#bounded = new Bounded(options.loadsWithoutRedis);
  }

  /** What has a lower one has begun before. */
  tick(): number {
    this.#ticks += 1;
    return this.#ticks;
  }

  flightOf(key: Buffer): Flight | undefined {
    return this.#flights.get(key.toString('latin1'));
  }

  /** As the holder of the lease. */
  async withLease(key: Buffer, token: string, load: Load): Promise<Buffer | null> {
    const name = key.toString('latin1');
    const flight: Flight = { token, begun: this.tick(), ended: this.#fly(key, token, load) };
    this.#flights.set(name, flight);
    try {
      return (await flight.ended).value;
    } finally {
      if (this.#flights.get(name) === flight) this.#flights.delete(name);
    }
  }

  /**
   * Few at once. Readers of one key share the load that is next in line: it begins behind their
   * calls. Where it throws, each loads for itself: what it threw may concern its own reader alone.
   */
  async alone(key: Buffer, load: Load): Promise<Buffer | null> {
    const name = key.toString('latin1');
    const ownLoad = async () => partsOf(await load('primary')).value;
    const joined = this.#next.get(name);
    if (joined !== undefined) return joined.catch(() => this.#bounded.run(ownLoad));
    const begin = () => {
      this.#next.delete(name);
      return ownLoad();
    };
    // Not at once: it is in line before it begins.
    const next = Promise.resolve().then(() => this.#bounded.run(begin));
    this.#next.set(name, next);
    return next;
  }

  async #fly(key: Buffer, token: string, load: Load): Flight['ended'] {
    try {
      let { value, version } = partsOf(await load('anywhere'));
      let filled = await this.#fill(key, token, { value, version, from: 'anywhere' });
      if (filled === 'behind') {
        ({ value, version } = partsOf(await load('primary')));
        filled = await this.#fill(key, token, { value, version, from: 'primary' });
      } else if (filled === 'unknown' && (version !== '' || value === null)) {
        // It may be of a replica that lags, and nobody has compared it.
        value = await this.alone(key, load);
      }
      return { kept: filled === 'kept', value };
    } catch (error) {
      await this.#giveUp(key, token);
      throw error;
    }
  }

  async #fill(key: Buffer, token: string, fill: Omit<Fill, 'livesMs'>): Promise<Filled | 'unknown'> {
    const { ttlMs, absentMs } = this.#options;
    // keymend could not tell whether it is stale.
    if (fill.value !== null && fill.value.length > LARGE_VALUES.bytes) {
      await this.#giveUp(key, token);
      return 'unknown';
    }
    // So that what was cached together does not expire together.
    const livesMs = Math.ceil(fill.value === null ? absentMs : ttlMs * (1 - Math.random() / 10));
    try {
      return await this.#answers.of(this.#leases.fill(key, token, { ...fill, livesMs }));
    } catch (error) {
      // A late one may be done yet; where it is refused nobody is to wait for it.
      if (!(error instanceof LateRedis)) await this.#giveUp(key, token);
      return 'unknown';
    }
  }

  /** Another reader may try. Where this is lost they wait until the lease has ended. */
  async #giveUp(key: Buffer, token: string): Promise<void> {
    await this.#answers.of(this.#leases.giveUp(key, token)).catch(() => {});
  }
}
