/** Whether source and target are one server: then every write would be done twice. */
import type { Cluster, Redis } from 'ioredis';
import { isCluster } from './client.js';

/** By what the clients were told. */
export function isSameServer(source: Redis | Cluster, target: Redis | Cluster): boolean {
  if ((source as unknown) === target) return true;
  if (isCluster(source) || isCluster(target) || source.options.sentinels || target.options.sentinels) return false;
  const place = ({ options: { host, port, path, db } }: Redis) => JSON.stringify([path ?? [host, port], db]);
  return place(source) === place(target);
}

/**
 * By where their connections end, whatever the names. Not seen: a server with several addresses, behind a proxy, or asked by TLS.
 * @param target connected
 * @returns `unknown` while the source is not connected
 */
export function compareEnds(source: Redis | Cluster, target: Redis): 'same' | 'different' | 'unknown' {
  const databaseOf = ({ options }: Redis) => options.db ?? 0;
  if (databaseOf(target) !== (isCluster(source) ? 0 : databaseOf(source))) return 'different';
  const nodes = isCluster(source) ? source.nodes('all') : [source];
  // With TLS the name can decide who answers: providers have many servers behind one address.
  const hasAddressOnly = ({ options }: Redis) => !options.path && !options.tls;
  if (![target, ...nodes].every(hasAddressOnly)) return 'different';
  const ends = nodes.map(endOf).filter((end) => end !== undefined);
  if (ends.length === 0) return 'unknown';
  return ends.includes(endOf(target)!) ? 'same' : 'different';
}

function endOf({ stream }: Redis): string | undefined {
  const { remoteAddress, remotePort } = stream ?? {};
  if (remoteAddress === undefined) return undefined;
  const ip = remoteAddress.replace(/^::ffff:/, '');
  return `${ip === '::1' || ip.startsWith('127.') ? 'localhost' : ip}:${remotePort}`;
}
