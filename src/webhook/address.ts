/**
 * Which addresses a message may be sent to. A name is resolved here, each of its addresses is
 * checked, and the connection is made to these: a name that resolves otherwise a moment later
 * changes nothing.
 */
import { type LookupAddress, lookup } from 'node:dns';
import { BlockList, isIP, type LookupFunction } from 'node:net';

/** Not of the open internet: of this machine, of a network of one's own, or of special use. */
const PRIVATE = new BlockList();
for (const [network, prefix] of [
  ['0.0.0.0', 8],
  ['10.0.0.0', 8],
  ['100.64.0.0', 10],
  ['127.0.0.0', 8],
  // Link-local, with the metadata services of clouds.
  ['169.254.0.0', 16],
  ['172.16.0.0', 12],
  ['192.0.0.0', 24],
  ['192.0.2.0', 24],
  ['192.88.99.0', 24],
  ['192.168.0.0', 16],
  ['198.18.0.0', 15],
  ['198.51.100.0', 24],
  ['203.0.113.0', 24],
  // Multicast, reserved, broadcast.
  ['224.0.0.0', 3],
] as const) {
  PRIVATE.addSubnet(network, prefix, 'ipv4');
}
/** Of IPv6 only what is routed in the open is taken, without what leads to an IPv4 address. */
const GLOBAL_6 = new BlockList();
GLOBAL_6.addSubnet('2000::', 3, 'ipv6');
const NOT_GLOBAL_6 = new BlockList();
for (const [network, prefix] of [
  // Special purposes (Teredo among them), documentation, 6to4.
  ['2001::', 23],
  ['2001:db8::', 32],
  ['2002::', 16],
  ['3fff::', 20],
] as const) {
  NOT_GLOBAL_6.addSubnet(network, prefix, 'ipv6');
}

/** @param scoped of IPv4, or of IPv6, which may have a zone, or an IPv4 address mapped into it */
export function isPrivate(scoped: string): boolean {
  const address = scoped.split('%')[0]!;
  if (isIP(address) === 4) return PRIVATE.check(address, 'ipv4');
  const mapped = mappedIpv4(address);
  if (mapped !== null) return PRIVATE.check(mapped, 'ipv4');
  return !GLOBAL_6.check(address, 'ipv6') || NOT_GLOBAL_6.check(address, 'ipv6');
}

/** Of `::ffff:1.2.3.4`, which may be written as `::ffff:102:304`. */
function mappedIpv4(address: string): string | null {
  const hex = /^(?:0*:)*:?ffff:([0-9a-f]{1,4}):([0-9a-f]{1,4})$/i.exec(address);
  if (hex !== null) {
    const [high, low] = [hex[1]!, hex[2]!].map((part) => Number.parseInt(part, 16)) as [number, number];
    return [high >> 8, high & 255, low >> 8, low & 255].join('.');
  }
  return /^(?:0*:)*:?ffff:(\d+\.\d+\.\d+\.\d+)$/i.exec(address)?.[1] ?? null;
}

/** An address that nothing is sent to. The message names the host, and no more. */
class ForbiddenAddress extends Error {
  override readonly name = 'ForbiddenAddress';
}

export function forbidden(host: string): ForbiddenAddress {
  return new ForbiddenAddress(
    `${host} is, or has, an address of a private network; write allowPrivate: true if that is meant`,
  );
}

/** For a message that is not encrypted. */
export function exposed(host: string): ForbiddenAddress {
  return new ForbiddenAddress(
    `${host} is, or has, an address of the open internet, where a message without TLS can be read; write https`,
  );
}

type Resolve = (
  host: string,
  options: { readonly all: true },
  callback: (error: NodeJS.ErrnoException | null, addresses: LookupAddress[]) => void,
) => void;

/**
 * A `lookup` for connections, which fails where any address of the name is private.
 * @param resolve for tests
 */
export function publicOnly(resolve: Resolve = lookup): LookupFunction {
  return unless(isPrivate, forbidden, resolve);
}

/** The other way round: which fails where any address of the name is not private. */
export function privateOnly(resolve: Resolve = lookup): LookupFunction {
  return unless((address) => !isPrivate(address), exposed, resolve);
}

function unless(
  isRefused: (address: string) => boolean,
  refusal: (host: string) => ForbiddenAddress,
  resolve: Resolve,
): LookupFunction {
  return (host, options, callback) => {
    resolve(host, { all: true }, (error, addresses) => {
      const first = addresses?.[0];
      const refused = error ?? (addresses.some(({ address }) => isRefused(address)) ? refusal(host) : null);
      if (refused !== null || first === undefined) callback(refused ?? refusal(host), '', 0);
      else if (options.all) callback(null, addresses);
      else callback(null, first.address, first.family);
    });
  };
}
