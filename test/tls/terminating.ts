/** What speaks TLS in front of a server that does not, on 127.0.0.1. */
import { readFileSync } from 'node:fs';
import { type AddressInfo, connect, type Socket } from 'node:net';
import { createServer } from 'node:tls';
import { type Certificate, pemOf } from '../support/authority.js';

export interface TlsProxy {
  readonly port: number;
  /** How many connections it has taken that had a handshake. */
  readonly taken: number;
  /** Shows another certificate from now on; what is connected has to connect anew. */
  renew(certificate: Certificate): void;
  close(): Promise<void>;
}

/** @param clients of which authority a certificate is wanted from whoever connects */
export async function startTlsProxy(to: number, certificate: Certificate, clients?: string): Promise<TlsProxy> {
  let taken = 0;
  const sockets = new Set<Socket>();
  const wanted = clients === undefined ? {} : { ca: readFileSync(clients), requestCert: true };
  const server = createServer({ ...pemOf(certificate), ...wanted, ALPNProtocols: ['h2'] }, (socket) => {
    taken += 1;
    const upstream = connect(to, '127.0.0.1');
    for (const [one, other] of [
      [socket, upstream],
      [upstream, socket],
    ] as const) {
      sockets.add(one);
      one.on('error', () => {}).once('close', () => other.destroy());
      one.pipe(other);
    }
  });
  server.on('tlsClientError', () => {});
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const drop = () => {
    for (const socket of sockets) socket.destroy();
  };
  return {
    port: (server.address() as AddressInfo).port,
    get taken() {
      return taken;
    },
    renew(other) {
      server.setSecureContext({ ...pemOf(other), ...wanted });
      drop();
    },
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        drop();
      }),
  };
}
