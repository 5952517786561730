/** One server: by its url, or whoever is the master of a group that Sentinels watch. */
import type { RedisOptions } from 'ioredis';
import { parseRedisUrl } from '../../redis-url.js';
import { readSecret, readTls, SecretFileError, type TlsFiles } from '../../secret-files.js';
import { OF_FILES, RedisFailure } from './failure.js';

interface SentinelGroup {
  /** Of the master, as the Sentinels know it. */
  readonly name: string;
  /**
   * Of the Sentinels; user and password in them are the Sentinels' own. With rediss:// the master
   * is asked by TLS as well.
   */
  readonly urls: readonly string[];
  /** For the master. */
  readonly username?: string | undefined;
  readonly password?: string | undefined;
  readonly db?: number | undefined;
}

/** How a server lets us in, and where it is if not where others say. */
export interface Access {
  /** A file, instead of a password in the url. */
  readonly passwordFile?: string | undefined;
  readonly tls?: TlsFiles | undefined;
  /** From announced addresses to those where they are reached, `host:port` each. */
  readonly addressMap?: Readonly<Record<string, string>> | undefined;
}

export type Address = Access & ({ readonly url: string } | { readonly sentinel: SentinelGroup });

export const SENTINEL_PORT = 26379;

/**
 * Behind Sentinels. After an ordered failover the old master goes on as one for seconds: what is
 * read there would undo newer writes, and what it acknowledges is thrown away. So the connection
 * leaves it as soon as a Sentinel tells of the new one.
 */
export const LEAVE_OLD_MASTER = {
  failoverDetector: true,
  // By default a Sentinel that was restarted is not listened to again for a minute.
  sentinelReconnectStrategy: () => 500,
} as const satisfies RedisOptions;

/**
 * How ioredis is told of Sentinels. They are asked with each connect, so a new master is found by
 * connecting anew.
 */
export function sentinelOptions({ name, urls, username, password, db }: SentinelGroup, timeoutMs: number) {
  const parsed = urls.map(parseRedisUrl);
  const { tls, ...first } = parsed[0]!;
  return {
    name,
    role: 'master',
    sentinels: parsed.map(({ host = 'localhost', port = SENTINEL_PORT }) => ({ host, port })),
    sentinelCommandTimeout: timeoutMs,
    // After one round through all Sentinels the attempt has failed.
    sentinelRetryStrategy: () => null,
    ...LEAVE_OLD_MASTER,
    ...(first.username && { sentinelUsername: first.username }),
    ...(first.password && { sentinelPassword: first.password }),
    ...(tls && { sentinelTLS: tls, tls, enableTLSForSentinelMode: true }),
    ...(username !== undefined && { username }),
    ...(password !== undefined && { password }),
    ...(db !== undefined && { db }),
  } as const satisfies RedisOptions;
}

/** What is in the files by now, for the next connect. @throws RedisFailure */
export function readAccess({
  passwordFile,
  tls: files,
}: Access): Pick<RedisOptions, 'password' | 'tls' | 'sentinelTLS'> {
  try {
    const tls = files && readTls(files);
    return {
      ...(passwordFile !== undefined && { password: readSecret(passwordFile) }),
      ...(tls && { tls, sentinelTLS: readAnew(files, tls) }),
    };
  } catch (error) {
    if (!(error instanceof SecretFileError)) throw error;
    throw new RedisFailure('CONNECTION', error.message, { cause: error, errno: OF_FILES });
  }
}

/**
 * What listens to the Sentinels lives on and connects anew by itself, so it looks here for itself.
 * A file that can't be read then must not end it: the next connect to the master tells of it.
 */
function readAnew(files: TlsFiles, tls: ReturnType<typeof readTls>): ReturnType<typeof readTls> {
  let { secureContext } = tls;
  return {
    ...tls,
    get secureContext() {
      try {
        ({ secureContext } = readTls(files));
      } catch (error) {
        if (!(error instanceof SecretFileError)) throw error;
      }
      return secureContext;
    },
  };
}

interface Place {
  readonly host: string;
  readonly port: number;
}

/** Where a server is reached that announces this host and port. */
export function reachable(host: string, port: number, { addressMap = {} }: Access): Place {
  const announced = addressAt(host, port);
  const found = Object.entries(addressMap).find(([from]) => normal(from) === announced);
  return found === undefined ? { host: apart(announced).host, port } : apart(found[1]);
}

/** The same for ioredis, of the master that a Sentinel names. It asks without brackets. */
export function natMapOf({ addressMap }: Access): Pick<RedisOptions, 'natMap'> {
  if (addressMap === undefined) return {};
  const entries = Object.entries(addressMap).map(([from, to]) => {
    const { host, port } = apart(normal(from));
    return [`${host}:${port}`, apart(to)];
  });
  return { natMap: Object.fromEntries(entries) };
}

/** @param address `host:port`; an IPv6 one in brackets, or not */
export function apart(address: string): Place {
  const colon = address.lastIndexOf(':');
  return { host: address.slice(0, colon).replace(/^\[(.*)\]$/, '$1'), port: Number(address.slice(colon + 1)) };
}

/** The opposite: an IPv6 address in brackets. */
export function addressAt(host: string, port: number | string): string {
  return `${host.includes(':') && !host.startsWith('[') ? `[${host}]` : host}:${port}`;
}

/** One way to write it. */
function normal(address: string): string {
  const { host, port } = apart(address);
  return addressAt(host, port);
}

/** What to call a server in the ID of a workflow: its address, or the name of its group. */
export function shardName({ sentinels, name, path, host, port }: RedisOptions): string {
  return sentinels ? `${name}` : (path ?? `${host}:${port}`);
}

/** For messages: never with a password. */
export function describeAddress({ sentinels, name, path, host, port, db }: RedisOptions): string {
  const group = `master ${name} of Sentinels ${sentinels?.map((each) => `${each.host}:${each.port}`).join(', ')}`;
  const address = sentinels ? group : (path ?? `${host}:${port}`);
  return db ? `${address}, database ${db}` : address;
}
