/** Certificates for tests, and Redis servers that speak TLS with them. */
import { execFileSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
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
  const directory = mkdtempSync(join(tmpdir(), 'keymend-tls-'));
  const file = (name: string) => join(directory, name);
  const openssl = (...args: string[]) => execFileSync('openssl', args, { stdio: 'ignore' });
  const key = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes', '-days', '2'];
  const ca = ['-CA', file('ca.crt'), '-CAkey', file('ca.key')];
  openssl('req', '-x509', ...key, '-subj', '/CN=test authority', '-keyout', file('ca.key'), '-out', file('ca.crt'));
  const name = ['-subj', '/CN=redis', '-addext', 'subjectAltName=IP:127.0.0.1'];
  openssl('req', '-x509', ...key, ...name, ...ca, '-keyout', file('redis.key'), '-out', file('redis.crt'));
  return {
    ca: readFileSync(file('ca.crt'), 'utf8'),
    arguments: [
      ['--tls-cert-file', file('redis.crt')],
      ['--tls-key-file', file('redis.key')],
      ['--tls-ca-cert-file', file('ca.crt')],
      ['--tls-auth-clients', 'no'],
    ].flat(),
    remove: () => rmSync(directory, { recursive: true, force: true }),
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
