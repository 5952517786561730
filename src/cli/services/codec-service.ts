/**
 * Decrypts payloads for whoever knows the token: the Web UI and the command line of Temporal, which
 * call such a service a codec server. It encrypts nothing, and logs nothing of what it is asked.
 */
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { Payload, PayloadCodec } from '@temporalio/common';
import proto from '@temporalio/proto';
import type { CodecConfig } from '../../config.js';
import { closed, listenOn, outlivesErrors } from '../../telemetry/listening.js';
import { isBearer, isSame } from '../../telemetry/token.js';
import { VerbError } from '../context.js';
import { asService, type Service, type ServiceOptions } from './service.js';

const { Payloads } = proto.temporal.api.common.v1;

type Settings = NonNullable<CodecConfig['server']>;

/** More than a page of the Web UI shows. */
const MOST_BYTES = 32 * 1024 * 1024;
const MANY = 'too many bytes';

/** @throws VerbError when the configuration says nothing of it, or the address can't be had */
export async function codecService({
  config,
  temporal,
  logger,
}: Pick<ServiceOptions, 'config' | 'temporal' | 'logger'>): Promise<Service> {
  const settings = config.temporal.codec?.server;
  if (settings === undefined || temporal.codec === undefined) {
    throw new VerbError('temporal.codec.server is missing; give it a token, and temporal.codec its keys');
  }
  const { codec } = temporal;
  const server = createServer((request, response) => {
    void answer(settings, codec, request, response);
  });
  outlivesErrors(server, logger, 'codec server');
  // Not `once` of node:events, which an error of the server would end.
  const finished = new Promise<void>((resolve) => void server.once('close', resolve));
  try {
    const url = await listenOn(server, settings.host, settings.port);
    logger.info(`${url} decrypts payloads for whoever has the token`);
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    throw new VerbError(
      `${settings.host}:${settings.port} can't be listened on (${code}); check temporal.codec.server.host and port`,
    );
  }
  const stop = () => closed(server);
  return asService('codec-server', { finished, isReady: () => server.listening, stop }, async () => {});
}

async function answer(
  settings: Settings,
  codec: PayloadCodec,
  request: IncomingMessage,
  response: ServerResponse,
): Promise<void> {
  const { origin, authorization } = request.headers;
  const allowed = origin === undefined ? {} : { 'access-control-allow-origin': origin, vary: 'origin' };
  const say = (status: number, text: string, headers: Record<string, string> = {}) =>
    response.writeHead(status, { ...allowed, 'cache-control': 'no-store', ...headers }).end(text);
  if (origin !== undefined && !settings.origins.includes(origin)) {
    response.writeHead(403, { 'cache-control': 'no-store' }).end('not a page of temporal.codec.server.origins\n');
    return;
  }
  const [, first = '', second] = (request.url ?? '').split('?')[0]!.split('/');
  const [token, path] = second === undefined ? [undefined, first] : [first, second];
  if (path !== 'decode') return void say(404, 'not found: there is /decode alone\n');
  if (request.method === 'OPTIONS') {
    const headers = 'authorization, content-type, x-namespace';
    return void say(204, '', { 'access-control-allow-methods': 'POST', 'access-control-allow-headers': headers });
  }
  if (request.method !== 'POST') return void say(405, 'only POST\n', { allow: 'POST' });
  const knows = token === undefined ? isBearer(authorization, settings.token) : isSame(token, settings.token);
  if (!knows) return void say(401, 'a token is needed\n', { 'www-authenticate': 'Bearer' });
  try {
    const decoded = await codec.decode(payloadsIn(await bodyOf(request)));
    const json = JSON.stringify(Payloads.fromObject({ payloads: decoded }).toJSON());
    say(200, json, { 'content-type': 'application/json' });
  } catch (error) {
    say((error as Error).message === MANY ? 413 : 400, `${(error as Error).message}\n`);
  }
}

async function bodyOf(request: IncomingMessage): Promise<string> {
  const pieces: Buffer[] = [];
  let bytes = 0;
  for await (const piece of request as AsyncIterable<Buffer>) {
    bytes += piece.length;
    if (bytes > MOST_BYTES) throw new Error(MANY);
    pieces.push(piece);
  }
  return Buffer.concat(pieces).toString();
}

/** @throws Error of one line, which quotes nothing */
function payloadsIn(text: string): Payload[] {
  try {
    return Payloads.fromObject(JSON.parse(text) as object).payloads as Payload[];
  } catch {
    throw new Error('not payloads as JSON');
  }
}
