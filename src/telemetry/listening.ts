/** A server that answers by HTTP: where it listens, and how it ends. */
import { once } from 'node:events';
import type { Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import type { Logger } from 'pino';

/** As a url has it. */
export function urlOf(host: string, port: number): string {
  return `http://${host.includes(':') ? `[${host}]` : host}:${port}`;
}

/**
 * @returns the url that it listens on
 * @throws NodeJS.ErrnoException when it can't have the address
 */
export async function listenOn(server: Server, host: string, port: number): Promise<string> {
  server.listen(port, host);
  await once(server, 'listening');
  return urlOf(host, (server.address() as AddressInfo).port);
}

/** An error without a listener would end the process: too many open files, for example. */
export function outlivesErrors(server: Server, logger: Logger, what: string): void {
  // A request is a line or two, and its asker near.
  server.requestTimeout = 10_000;
  server.on('error', (error) => logger.debug({ error: String(error) }, what));
}

/** Nobody is answered any more, nor kept waiting. */
export async function closed(server: Server): Promise<void> {
  const end = new Promise((resolve) => server.close(resolve));
  server.closeAllConnections();
  await end;
}
