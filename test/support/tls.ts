/** Certificates for tests, and Redis servers that speak TLS with them. */
import { readFileSync } from 'node:fs';
import { makeAuthority } from './authority.js';
import { freePort, type RedisServer, startRedis } from './redis.js';

/** Its own certificate authority, and a certificate of that for 127.0.0.1. */
export interface Certificates {
  /** PEM of the authority: who trusts it, trusts the servers. */
  readonly ca: string;
  /** Of redis-server. */
  readonly arguments: readonly string[];
  remove(): void;
}

export function makeCertificates(): Certificates {
  const { caFile, issue, remove } = makeAuthority();
  const { certFile, keyFile } = issue();
  return {
    ca: readFileSync(caFile, 'utf8'),
    arguments: [
      ['--tls-cert-file', certFile],
      ['--tls-key-file', keyFile],
      ['--tls-ca-cert-file', caFile],
      ['--tls-auth-clients', 'no'],
    ].flat(),
    remove,
  };
}

export interface TlsRedisServer extends RedisServer {
  /** Speaks TLS; `port` does not. */
  readonly tlsPort: number;
}

export async function startTlsRedis(certificates: Certificates): Promise<TlsRedisServer> {
  const tlsPort = await freePort();
  const server = await startRedis([...certificates.arguments, '--tls-port', `${tlsPort}`]);
  return { ...server, tlsPort };
}
