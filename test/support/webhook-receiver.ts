/** A receiver of webhooks: a real server that remembers what it got. */
import { createServer, type IncomingHttpHeaders, type RequestListener } from 'node:http';
import type { AddressInfo } from 'node:net';

export interface Received {
  readonly method: string;
  readonly path: string;
  readonly headers: IncomingHttpHeaders;
  readonly body: string;
}

export interface Receiver {
  readonly url: string;
  readonly port: number;
  readonly received: Received[];
  /** What it answers from now on; null: nothing at all. */
  answer(status: number | null, headers?: Record<string, string>): void;
  close(): Promise<void>;
}

/** @param port a given one: a restart of the same address */
export async function startReceiver(port = 0): Promise<Receiver> {
  const received: Received[] = [];
  let answer: { status: number | null; headers: Record<string, string> } = { status: 200, headers: {} };
  const listener: RequestListener = (request, response) => {
    let body = '';
    request.setEncoding('utf8').on('data', (chunk: string) => {
      body += chunk;
    });
    request.on('end', () => {
      received.push({ method: request.method!, path: request.url!, headers: request.headers, body });
      if (answer.status !== null) response.writeHead(answer.status, answer.headers).end();
    });
  };
  const server = createServer(listener);
  await new Promise<void>((resolve) => server.listen(port, '127.0.0.1', resolve));
  const { port: taken } = server.address() as AddressInfo;
  return {
    url: `http://127.0.0.1:${taken}/hook/secret-path`,
    port: taken,
    received,
    answer(status, headers = {}) {
      answer = { status, headers };
    },
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        server.closeAllConnections();
      }),
  };
}
