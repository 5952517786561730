/** What a client must be like to mirror writes to the target. */
import type { ClusterOptions, RedisOptions } from 'ioredis';
import { LEAVE_OLD_MASTER } from '../../redis/index.js';
import type { Topology } from '../topology.js';

/**
 * The options that a target client needs, so that a write is sent at most once and never after it
 * was given up: `new Redis(url, mirrorOptions(500))`.
 *
 * On TLS and Unix sockets Node can't reset a connection, only destroy it: there, a write that was
 * given up after a timeout may still land if its bytes were with the kernel already. Its record
 * says `unknown`, so keymend waits and compares again.
 * @param timeoutMs how long the target may be silent: without an answer and without taking bytes,
 *   and for each step of connecting. What it has not answered gets 1 ms more for each KiB, 4 s at
 *   most
 */
export function mirrorOptions(timeoutMs = 1000) {
  return {
    enableOfflineQueue: false,
    autoResendUnfulfilledCommands: false,
    maxRetriesPerRequest: 0,
    commandTimeout: timeoutMs,
    connectTimeout: timeoutMs,
    // A Sentinel that is frozen is not waited for.
    sentinelCommandTimeout: timeoutMs,
    ...LEAVE_OLD_MASTER,
    protocol: 2,
  } as const satisfies RedisOptions;
}

/**
 * The same for a Cluster: `new Cluster(nodes, mirrorClusterOptions(500))`. It tells only which
 * master has which slot. The writes go through connections that the writer opens itself with its
 * `redisOptions`, one to each master. A password or TLS belongs there too:
 * `{ ...options, redisOptions: { ...options.redisOptions, password } }`.
 * @param timeoutMs as in `mirrorOptions`
 */
export function mirrorClusterOptions(timeoutMs = 1000) {
  return {
    redisOptions: mirrorOptions(timeoutMs),
    slotsRefreshTimeout: timeoutMs,
    // A move of slots shows as MOVED. Only a master that is gone without a trace shows no other
    // way.
    slotsRefreshInterval: 5000,
  } as const satisfies ClusterOptions;
}

/** No timeout of a writer may be longer. */
export const DAY_MS = 24 * 60 * 60_000;

/** @throws Error naming every option of the client that could make a late or double write */
export function assertMirrorOptions({ connection, keyPrefix, asTarget }: Topology): void {
  const problems: [present: boolean, text: string][] = [
    [connection.enableOfflineQueue !== false, 'enableOfflineQueue (must be false)'],
    [connection.autoResendUnfulfilledCommands !== false, 'autoResendUnfulfilledCommands (must be false)'],
    [connection.maxRetriesPerRequest !== 0, 'maxRetriesPerRequest (must be 0)'],
    [!(Number(connection.commandTimeout) > 0), 'commandTimeout (must be set)'],
    [Number(connection.commandTimeout) > DAY_MS, `commandTimeout (must be at most ${DAY_MS}, a day)`],
    [Boolean(connection.reconnectOnError), 'reconnectOnError (may resend; must not be set)'],
    [typeof connection.retryStrategy !== 'function', 'retryStrategy (must be a function)'],
    [Boolean(connection.keyPrefix || keyPrefix), 'keyPrefix (set it on the source alone)'],
    [connection.readOnly === true, 'readOnly (must be false)'],
    [connection.role === 'slave', 'role (must be master)'],
    [connection.monitor === true, 'monitor (must be false)'],
  ];
  const unsafe = problems.filter(([present]) => present).map(([, text]) => text);
  if (unsafe.length > 0) throw new Error(`unsafe options of the target client: ${unsafe.join(', ')}; use ${asTarget}`);
}
