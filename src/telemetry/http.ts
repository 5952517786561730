/**
 * What a process says of itself over HTTP: `/livez`, `/readyz` and `/metrics`. Nothing else is
 * there, and nothing of keys or values.
 */
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { Logger } from 'pino';
import type { HttpConfig } from '../config.js';
import { closed, listenOn, outlivesErrors, urlOf } from './listening.js';
import type { Metrics } from './metrics.js';
import { isBearer } from './token.js';

interface HttpOptions {
  readonly config: HttpConfig;
  readonly metrics: Metrics;
  /** What is not ready; empty: all is. */
  readonly notReady: () => readonly string[];
  readonly logger: Logger;
}

export interface HttpServer {
  /** Nobody is answered any more, nor kept waiting. */
  close(): Promise<void>;
}

/** Between two looks whether a port that is taken is free now. */
const TAKEN_RETRY_MS = 5_000;

/**
 * Starts to answer. A port that another process has is waited for, and a line says so: repairs must
 * not stand still because somebody else can't be asked how they go.
 * @throws Error in one line when there can be no such address here
 */
export async function startHttp(options: HttpOptions): Promise<HttpServer> {
  const { config, logger } = options;
  const server = createServer((request, response) => {
    void answer(options, request, response);
  });
  outlivesErrors(server, logger, 'http');
  let retry: NodeJS.Timeout | null = null;
  const listen = async (): Promise<boolean> => {
    try {
      const url = await listenOn(server, config.host, config.port);
      logger.info(`${url} has /livez, /readyz and /metrics`);
      return true;
    } catch (error) {
      const { code } = error as NodeJS.ErrnoException;
      if (code === 'EADDRINUSE') return false;
      throw new Error(
        `http: ${config.host}:${config.port} can't be listened on (${code}); check http.host and http.port`,
      );
    }
  };
  const listenLater = () => {
    retry = setTimeout(() => {
      void listen().then(
        (listens) => !listens && listenLater(),
        (error: Error) => logger.error(error.message),
      );
    }, TAKEN_RETRY_MS).unref();
  };
  if (!(await listen())) {
    logger.error(
      `${urlOf(config.host, config.port)} is taken by another process: this one can't be asked for /livez, /readyz and /metrics until it ` +
        'is free. Give each process a port of its own, for example http.port: ${KEYMEND_PORT}',
    );
    listenLater();
  }
  return {
    async close() {
      if (retry !== null) clearTimeout(retry);
      await closed(server);
    },
  };
}

async function answer(options: HttpOptions, request: IncomingMessage, response: ServerResponse): Promise<void> {
  const say = (status: number, text: string, headers: Record<string, string> = {}) => {
    const type = { 'content-type': 'text/plain; charset=utf-8', 'cache-control': 'no-store' };
    response.writeHead(status, { ...type, ...headers }).end(request.method === 'HEAD' ? undefined : text);
  };
  const [path] = (request.url ?? '').split('?');
  if (!['/livez', '/readyz', '/metrics'].includes(path!)) return say(404, 'not found\n');
  if (request.method !== 'GET' && request.method !== 'HEAD') return say(405, 'only GET\n', { allow: 'GET, HEAD' });
  // That it is answered at all is the answer.
  if (path === '/livez') return say(200, 'ok\n');
  if (path === '/readyz') {
    const missing = options.notReady();
    return missing.length === 0 ? say(200, 'ok\n') : say(503, `not ready: ${missing.join(', ')}\n`);
  }
  const { token } = options.config;
  if (token !== undefined && !isBearer(request.headers.authorization, token))
    return say(401, 'a token is needed\n', { 'www-authenticate': 'Bearer' });
  try {
    say(200, await options.metrics.text(), { 'content-type': options.metrics.registry.contentType });
  } catch (error) {
    options.logger.error({ error: String(error) }, 'the metrics can not be told');
    say(500, 'no metrics\n');
  }
}
