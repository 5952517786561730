/** Whether source and target are one server: then every write would be done twice. */
import type { Cluster, Redis } from 'ioredis';
import { isCluster } from '../redis/client-kind.js';

/** As far as the clients' options tell. */
export function isSameServer(source: Redis | Cluster, target: Redis | Cluster): boolean {
  if ((source as unknown) === target) return true;
  if (isCluster(source) || isCluster(target) || source.options.sentinels || target.options.sentinels) return false;
  const place = ({ options: { host, port, path, db } }: Redis) => JSON.stringify([path ?? [host, port], db]);
  return place(source) === place(target);
}

/**
 * By where their connections end, whatever the names. Not seen: a server with several addresses, behind a proxy, or asked by TLS.
 * To be asked each time that something is sent: a failover or DNS can lead either name to the other's server.
 */
export function isSameEnd(source: Redis | Cluster, target: Redis): boolean {
  const databaseOf = ({ options }: Redis) => options.db ?? 0;
  if (databaseOf(target) !== (isCluster(source) ? 0 : databaseOf(source))) return false;
  const nodes = isCluster(source) ? source.nodes('all') : [source];
  // With TLS the name can decide who answers: providers have many servers behind one address.
  const hasAddressOnly = ({ options }: Redis) => !options.path && !options.tls;
  if (![target, ...nodes].every(hasAddressOnly)) return false;
  const { remoteAddress, remotePort } = target.stream;
  if (remoteAddress === undefined) return false;
  const end = endAt(remoteAddress, remotePort);
  // A node of a Cluster may not be connected yet; but its address is known.
  return nodes.some(({ stream, options }) =>
    [endAt(stream?.remoteAddress, stream?.remotePort), endAt(options.host, options.port)].includes(end),
  );
}

function endAt(host: string | undefined, port: number | undefined): string {
  const ip = host?.replace(/^::ffff:/, '').replace(/^::1$/, '127.0.0.1');
  return `${ip}:${port}`;
}
