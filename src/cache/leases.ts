/** The values of keys in Redis, and leases: who may fill a key that is not there. */
import { randomUUID } from 'node:crypto';
import { readFileSync } from 'node:fs';
import type { Cluster, Redis } from 'ioredis';
import { slotOf, tagIn } from '../redis/slots.js';

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

export class Leases {
  readonly #redis: Redis | Cluster;
  readonly leaseMs: number;

  constructor(redis: Redis | Cluster, leaseMs: number) {
    this.#redis = redis;
    this.leaseMs = leaseMs;
  }

  /** Where it is told that a lease has ended; the key of the lease, too. */
  channelOf(key: Buffer): Buffer {
    return Buffer.concat([Buffer.from(`keymend:lease:{${tagIn(slotOf(key))}}:`), key]);
  }

  async look(key: Buffer): Promise<Look> {
    const token = randomUUID();
    const reply = (await this.#run(LOOK, key, token, `${this.leaseMs}`)) as [Buffer, Buffer | number, Buffer];
    const [kind, more] = [String(reply[0]), reply[1]];
    if (kind === 'value') return { kind, value: more as Buffer };
    if (kind === 'wait') return { kind, ms: Math.max(1, Number(more)), holder: String(reply[2]) };
    return kind === 'absent' ? { kind } : { kind: 'load', token };
  }

  /**
   * @param value null: there is no such row
   * @returns false: it may be older than a delete since, and was not cached
   */
  async fill(key: Buffer, token: string, value: Buffer | null, ttlMs: number): Promise<boolean> {
    const what = value === null ? ['absent', `${ttlMs}`, ''] : ['value', `${ttlMs}`, value];
    return Number(await this.#run(FILL, key, token, ...what)) === 1;
  }

  /** The load has failed: another reader may try. */
  async giveUp(key: Buffer, token: string): Promise<void> {
    await this.#run(FILL, key, token, 'nothing', '', '');
  }

  async drop(key: Buffer): Promise<void> {
    await this.#run(DROP, key);
  }

  #run(source: string, key: Buffer, ...args: (Buffer | string)[]): Promise<unknown> {
    return this.#redis.callBuffer('EVAL', source, '2', key, this.channelOf(key), ...args);
  }
}
