/** Whether source and target are one server: then every write would be done twice. */
import type { Redis } from 'ioredis';
import type { Topology } from './topology.js';

/** As far as the clients' options tell. */
export function isSameServer(source: Topology, target: Topology): boolean {
  return source.client === target.client || (source.place !== undefined && source.place === target.place);
}

/**
 * By where their connections end, whatever the names. Not seen: a server with several addresses,
 * behind a proxy, or asked by TLS. To be asked each time that something is sent: a failover or DNS
 * can lead either name to the other's server.
 * @param target the client of one connection of the target
 */
export function isSameEnd(source: Topology, target: Redis): boolean {
  if ((target.options.db ?? 0) !== source.database) return false;
  const servers = source.servers();
  // With TLS the name can decide who answers: providers have many servers behind one address.
  if (!hasAddressOnly(target) || !servers.every(hasAddressOnly)) return false;
  const { remoteAddress, remotePort } = target.stream;
  if (remoteAddress === undefined) return false;
  const end = endAt(remoteAddress, remotePort);
  // A node of a Cluster may not be connected yet; but its address is known.
  return servers.some(({ stream, options }) =>
    [endAt(stream?.remoteAddress, stream?.remotePort), endAt(options.host, options.port)].includes(end),
  );
}

function hasAddressOnly({ options }: Redis): boolean {
  return !options.path && !options.tls;
}

function endAt(host: string | undefined, port: number | undefined): string {
  const ip = host?.replace(/^::ffff:/, '').replace(/^::1$/, '127.0.0.1');
  return `${ip}:${port}`;
}
