/** Options that would fail only later, and without a word. */
import type { Cluster, Redis } from 'ioredis';
import { LINK_NAME } from '../defaults.js';

/** Of a number. */
interface Limits {
  readonly least?: number;
  readonly most?: number;
}

/** Beyond it Redis is told another one. */
const EXACT: Limits = { most: Number.MAX_SAFE_INTEGER };

/**
 * @param owner whose option it is
 * @throws RangeError
 */
export function requireNumber(owner: string, name: string, value: number, { least = 1, most }: Limits = {}): void {
  if (value >= least && value <= (most ?? Number.POSITIVE_INFINITY)) return;
  const must = most === undefined ? `of at least ${least}` : `from ${least} to ${most}`;
  throw new RangeError(`${name} of ${owner} is ${value}: it must be a number ${must}`);
}

type CacheNumbers = Record<'ttlMs' | 'absentMs' | 'redisTimeoutMs' | 'loadsWithoutRedis' | 'lagMs', number>;

/** @throws RangeError */
export function requireNumbers(numbers: CacheNumbers): void {
  const [owner, { ttlMs, absentMs, lagMs, redisTimeoutMs, loadsWithoutRedis }] = ['the cache', numbers];
  requireNumber(owner, 'ttlMs', ttlMs, EXACT);
  requireNumber(owner, 'absentMs', absentMs, { ...EXACT, least: 0 });
  requireNumber(owner, 'lagMs', lagMs, { ...EXACT, least: 0 });
  requireNumber(owner, 'redisTimeoutMs', redisTimeoutMs, { least: 0 });
  requireNumber(owner, 'loadsWithoutRedis', loadsWithoutRedis);
}

interface Place {
  readonly redis: Redis | Cluster;
  readonly link: string;
}

/**
 * @throws RangeError when a lease could outlive the link's `settle`, or no record could name a key
 */
export function requireFitting({ redis, link }: Place, leaseMs: number, settleMs: number): void {
  if (!LINK_NAME.test(link)) throw new RangeError(`"${link}" is no name of a link`);
  const { keyPrefix } = redis.options;
  if (keyPrefix) {
    const why = `the client has the keyPrefix "${keyPrefix}", which no record would know`;
    throw new RangeError(`link ${link}: ${why}; give the cache whole keys`);
  }
  if (leaseMs >= 1 && leaseMs <= settleMs) return;
  const must = `leaseMs must be from 1 to settleMs (${settleMs}), and is ${leaseMs}`;
  throw new RangeError(`${must}; let link ${link} of keymend.yaml settle for longer, and give settleMs that time`);
}
