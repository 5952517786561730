/**
 * What the environment says about the local services. The documented variables:
 *
 * | variable | means |
 * | --- | --- |
 * | `KEYMEND_STACK_TEMPORAL_ADDRESS` | host:port of a running Temporal; none is started |
 * | `KEYMEND_STACK_TEMPORAL_UI` | URL of its Web UI; default: the same host, port 8233 |
 * | `KEYMEND_STACK_KAFKA_BROKERS` | host:port of running brokers, with commas; none is started |
 * | `KEYMEND_STACK_REDIS_SOURCE` | URL or host:port of a running source Redis; none is started |
 * | `KEYMEND_STACK_REDIS_TARGET` | the same for the target |
 * | `XDG_CACHE_HOME` | where downloaded programs are kept, under `keymend/` |
 */
import { homedir } from 'node:os';
import { join } from 'node:path';
import { urlProblem } from '../redis-url.js';
import { StackError } from './errors.js';

export const TEMPORAL_ADDRESS = 'KEYMEND_STACK_TEMPORAL_ADDRESS';
const TEMPORAL_UI = 'KEYMEND_STACK_TEMPORAL_UI';
export const KAFKA_BROKERS = 'KEYMEND_STACK_KAFKA_BROKERS';
export const REDIS_SOURCE = 'KEYMEND_STACK_REDIS_SOURCE';
export const REDIS_TARGET = 'KEYMEND_STACK_REDIS_TARGET';

/** Where services run that somebody else started; what is absent is ours to start. */
export interface GivenAddresses {
  readonly temporal?: { readonly address: string; readonly ui: string };
  readonly kafka?: { readonly brokers: readonly string[] };
  readonly redisSource?: string;
  readonly redisTarget?: string;
}

/** @throws StackError when an address can't be one */
export function givenAddresses(environment: NodeJS.ProcessEnv): GivenAddresses {
  const address = environment[TEMPORAL_ADDRESS];
  const brokers = environment[KAFKA_BROKERS];
  const source = environment[REDIS_SOURCE];
  const target = environment[REDIS_TARGET];
  return {
    ...(address && {
      temporal: {
        address: hostAndPort(TEMPORAL_ADDRESS, address),
        ui: environment[TEMPORAL_UI] || `http://${address.replace(/:\d+$/, '')}:8233`,
      },
    }),
    ...(brokers && {
      kafka: { brokers: brokers.split(',').map((broker) => hostAndPort(KAFKA_BROKERS, broker.trim())) },
    }),
    ...(source && { redisSource: redisUrl(REDIS_SOURCE, source) }),
    ...(target && { redisTarget: redisUrl(REDIS_TARGET, target) }),
  };
}

/**
 * Where programs are kept between runs and between checkouts, by the custom of the operating
 * system.
 */
export function cacheFolder(environment: NodeJS.ProcessEnv): string {
  const home = environment.HOME || homedir();
  const base =
    environment.XDG_CACHE_HOME ||
    (process.platform === 'darwin' ? join(home, 'Library', 'Caches') : join(home, '.cache'));
  return join(base, 'keymend');
}

function hostAndPort(variable: string, value: string): string {
  if (!/^\S+:\d+$/.test(value)) throw new StackError(`${variable} must be host:port, for example 127.0.0.1:7233`);
  return value;
}

/** Says nothing of the value: it may hold a password. */
function redisUrl(variable: string, value: string): string {
  const url = /^[^\s/@]+:\d+$/.test(value) ? `redis://${value}` : value;
  const isRedis = /^rediss?:\/\/\S+$/.test(url);
  const problem = isRedis ? urlProblem(url) : undefined;
  if (problem !== undefined) throw new StackError(`${variable} ${problem}`);
  if (isRedis) return url;
  throw new StackError(`${variable} must be redis://… , rediss://… or host:port, for example redis://127.0.0.1:6379`);
}
