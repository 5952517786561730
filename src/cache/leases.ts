/** The values of keys in Redis, and leases: who may fill a key that is not there. */
import { randomUUID } from 'node:crypto';
import { readFileSync } from 'node:fs';
import type { Cluster, Redis } from 'ioredis';
import { besideKey } from '../redis/row-versions.js';

const script = (name: string) => readFileSync(new URL(`./lua/${name}.lua`, import.meta.url), 'utf8');
const [LOOK, FILL, DROP] = [script('look'), script('fill'), script('drop')];

export type Look =
  | { readonly kind: 'value'; readonly value: Buffer }
  /** The database has no such row, as of a moment ago. */
  | { readonly kind: 'absent' }
  /** Somebody loads it, with this token; in so many ms nobody does any more. */
  | { readonly kind: 'wait'; readonly ms: number; readonly holder: string }
  /** The caller is to load it, and to `fill` with this token. */
  | { readonly kind: 'load'; readonly token: string };

/** What was loaded. */
export interface Fill {
  /** null: there is no such row. */
  readonly value: Buffer | null;
  /** As `digitsOf` has it, or empty: nothing is known of it. */
  readonly version: string;
  /** `anywhere`: it may be a replica that lags. */
  readonly from: 'anywhere' | 'primary';
  /** 0, of no row: that is not kept. */
  readonly livesMs: number;
}

/** `not kept`: it may be older than a delete since. `behind`: it is older than what is known of. */
export type Filled = 'kept' | 'behind' | 'not kept';

interface LeasesOptions {
  readonly leaseMs: number;
  /** How long a version is remembered. */
  readonly lagMs: number;
}

/**
 * Clients have it, and do not declare it. With `enableAutoPipelining` their `callBuffer` loses the
 * name of the command.
 */
interface EvalBuffer {
  evalBuffer(script: string, keyCount: number, ...keysAndArgs: readonly (Buffer | string)[]): Promise<unknown>;
}

export class Leases {
  readonly #redis: EvalBuffer;
  readonly #lagMs: number;
  readonly leaseMs: number;

  constructor(redis: Redis | Cluster, { leaseMs, lagMs }: LeasesOptions) {
    this.#redis = redis as Redis & EvalBuffer;
    // Redis takes whole numbers alone.
    this.leaseMs = Math.floor(leaseMs);
    this.#lagMs = Math.ceil(lagMs);
  }

  /** Where it is told that a lease has ended; the key of the lease, too. */
  channelOf(key: Buffer): Buffer {
    return besideKey('lease', key);
  }

  async look(key: Buffer): Promise<Look> {
    const token = randomUUID();
    const keys = [key, this.channelOf(key)];
    const reply = (await this.#run(LOOK, keys, token, `${this.leaseMs}`)) as [Buffer, Buffer | number, Buffer];
    const [kind, more] = [String(reply[0]), reply[1]];
    if (kind === 'value') return { kind, value: more as Buffer };
    if (kind === 'wait') return { kind, ms: Math.max(1, Number(more)), holder: String(reply[2]) };
    return kind === 'absent' ? { kind } : { kind: 'load', token };
  }

  async fill(key: Buffer, token: string, { value, version, from, livesMs }: Fill): Promise<Filled> {
    const kind = value === null ? 'absent' : 'value';
    const what = [kind, `${livesMs}`, value ?? '', version, from, `${this.#lagMs}`];
    const answer = Number(await this.#run(FILL, this.#keysOf(key), token, ...what));
    if (answer === 1) return 'kept';
    return answer === -1 ? 'behind' : 'not kept';
  }

  /** The load has failed: another reader may try. */
  async giveUp(key: Buffer, token: string): Promise<void> {
    await this.#run(FILL, this.#keysOf(key), token, 'nothing');
  }

  /** @param version what was written, as `digitsOf` has it, or empty */
  async drop(key: Buffer, version: string): Promise<void> {
    await this.#run(DROP, this.#keysOf(key), version, `${this.#lagMs}`);
  }

  #keysOf(key: Buffer): Buffer[] {
    return [key, this.channelOf(key), besideKey('version', key)];
  }

  #run(source: string, keys: readonly Buffer[], ...args: (Buffer | string)[]): Promise<unknown> {
    return this.#redis.evalBuffer(source, keys.length, ...keys, ...args);
  }
}
