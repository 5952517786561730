/** What the codec server answers, and whom. */
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { type AddressInfo, createServer } from 'node:net';
import { defaultPayloadConverter } from '@temporalio/common';
import { pino } from 'pino';
import { expect, it, onTestFinished } from 'vitest';
import { codecService } from '../../src/cli/services/codec-service.js';
import { parseConfig } from '../../src/config.js';
import { temporalTarget } from '../../src/temporal/connect.js';
import { ENVIRONMENT } from '../support/keymend.js';

const ORIGIN = 'https://temporal.example';
const TOKEN = 'a-token-of-the-tests';
const VALUE = { key: 'user:42' };

async function start(server?: object) {
  const keys = [{ id: 'k', secret: randomBytes(32).toString('base64') }];
  const links = [{ name: 'l', source: { url: 'redis://a' }, target: { url: 'redis://b' } }];
  const given = { temporal: { codec: { keys, ...(server && { server }) } }, kafka: { brokers: ['h:1'] }, links };
  const config = parseConfig(JSON.stringify(given), 'test', {});
  const temporal = temporalTarget(config, ENVIRONMENT);
  const lines: string[] = [];
  const logger = pino({}, { write: (line: string) => void lines.push((JSON.parse(line) as { msg: string }).msg) });
  const service = await codecService({ config, temporal, logger });
  onTestFinished(() => service.stop());
  const url = /^http:\S+/.exec(lines[0]!)![0];
  const [encrypted] = await temporal.codec!.encode([defaultPayloadConverter.toPayload(VALUE)]);
  const base64 = (bytes: Uint8Array) => Buffer.from(bytes).toString('base64');
  const metadata = Object.fromEntries(Object.entries(encrypted!.metadata!).map(([name, is]) => [name, base64(is)]));
  const body = JSON.stringify({ payloads: [{ metadata, data: base64(encrypted!.data!) }] });
  const ask = (path: string, headers: Record<string, string> = {}, more: RequestInit = {}) =>
    fetch(`${url}${path}`, { method: 'POST', body, headers, ...more });
  return { ask, lines };
}

const BEARER = { authorization: `Bearer ${TOKEN}` };

it('decrypts for whoever has the token, in a header or in the path', async () => {
  const { ask } = await start({ port: 0, token: TOKEN });
  for (const answer of [await ask('/decode', BEARER), await ask(`/${TOKEN}/decode`)]) {
    expect(answer.status).toBe(200);
    const { payloads } = (await answer.json()) as { payloads: [{ data: string }] };
    expect(JSON.parse(Buffer.from(payloads[0].data, 'base64').toString())).toEqual(VALUE);
  }
});

it('tells nobody else anything, and encrypts for nobody', async () => {
  const { ask, lines } = await start({ port: 0, token: TOKEN });
  const statuses = async (...asked: Parameters<typeof ask>[]) =>
    (await Promise.all(asked.map((each) => ask(...each)))).map(({ status }) => status);
  const wrong = { authorization: 'Bearer other' };
  expect(await statuses(['/decode'], ['/decode', wrong], ['/other/decode'], ['//decode', BEARER])).toEqual(
    Array(4).fill(401),
  );
  expect(await statuses(['/encode', BEARER], [`/${TOKEN}/encode`], ['/', BEARER])).toEqual(Array(3).fill(404));
  expect((await ask('/decode', BEARER, { method: 'GET', body: null })).status).toBe(405);
  expect((await ask('/decode', BEARER, { body: '{' })).status).toBe(400);
  // What was asked stands in no log.
  expect(lines).toHaveLength(1);
});

it('answers the pages of the named origins alone', async () => {
  const { ask } = await start({ port: 0, token: TOKEN, origins: [ORIGIN] });
  const preflight = (origin: string) => ask('/decode', { origin }, { method: 'OPTIONS', body: null });
  const [allowed, refused] = await Promise.all([preflight(ORIGIN), preflight('https://evil.example')]);
  expect([allowed.status, allowed.headers.get('access-control-allow-origin')]).toEqual([204, ORIGIN]);
  expect(allowed.headers.get('access-control-allow-headers')).toContain('authorization');
  expect([refused.status, refused.headers.get('access-control-allow-origin')]).toEqual([403, null]);
  const answer = await ask('/decode', { ...BEARER, origin: ORIGIN });
  expect([answer.status, answer.headers.get('access-control-allow-origin')]).toEqual([200, ORIGIN]);
  expect((await ask('/decode', { ...BEARER, origin: 'https://evil.example' })).status).toBe(403);
});

it('without its settings there is none, in one line', async () => {
  await expect(start()).rejects.toThrow(/^temporal\.codec\.server is missing; give it a token/);
});

it('says where it is, at an IPv6 address too', async () => {
  const { ask } = await start({ host: '::1', port: 0, token: TOKEN });
  expect((await ask('/decode', BEARER)).status).toBe(200);
});

it.each(['/', '?', '#', '%', ' ', 'é'])(
  'a token with %j, which no path could have, is refused with its place',
  async (odd) => {
    await expect(start({ port: 0, token: `a-token-of${odd}the-tests` })).rejects.toThrow(
      'temporal.codec.server.token: must be of letters, digits and . _ ~ + = - alone',
    );
  },
);

it('a token with each character that it may have is known in a path', async () => {
  const token = 'A.token_of~the+tests=-9';
  const { ask } = await start({ port: 0, token });
  expect((await ask(`/${token}/decode`)).status).toBe(200);
});

it('a token that is soon guessed is refused with its place', async () => {
  await expect(start({ port: 0, token: 'a-token' })).rejects.toThrow(
    'temporal.codec.server.token: must have at least 16 characters',
  );
});

it('says in one line that its port is taken, and nothing else goes wrong', async () => {
  const taken = createServer().listen(0, '127.0.0.1');
  await once(taken, 'listening');
  onTestFinished(() => void taken.close());
  const { port } = taken.address() as AddressInfo;
  await expect(start({ port, token: TOKEN })).rejects.toThrow(
    `127.0.0.1:${port} can't be listened on (EADDRINUSE); check temporal.codec.server.host and port`,
  );
});
