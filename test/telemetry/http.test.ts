import { once } from 'node:events';
import { type AddressInfo, createServer } from 'node:net';
import { type Logger, pino } from 'pino';
import { Counter } from 'prom-client';
import { expect, it, onTestFinished } from 'vitest';
import type { HttpConfig } from '../../src/config.js';
import { startHttp } from '../../src/telemetry/http.js';
import { Metrics } from '../../src/telemetry/metrics.js';
import { eventually } from '../support/eventually.js';

interface Answering {
  readonly url: string;
  readonly lines: readonly string[];
  missing: string[];
}

const HOST = '127.0.0.1';

async function start(config: Partial<HttpConfig> = {}): Promise<Answering> {
  const lines: string[] = [];
  const metrics = new Metrics();
  new Counter({ name: 'keymend_example_total', help: 'Of the test.', registers: [metrics.registry] }).inc(7);
  const logger: Logger = pino(
    {},
    { write: (line: string) => void lines.push((JSON.parse(line) as { msg: string }).msg) },
  );
  const answering = { url: '', lines, missing: [] as string[] };
  const options = { metrics, notReady: () => answering.missing, logger };
  const server = await startHttp({ config: { host: HOST, port: 0, ...config }, ...options });
  onTestFinished(() => server.close());
  answering.url = /^http:\S+/.exec(lines[0] ?? '')?.[0] ?? '';
  return answering;
}

it('a process that answers is alive, and ready while all of its parts are', async () => {
  const answering = await start();
  const ask = async (path: string) => {
    const { status, text } = await get(`${answering.url}${path}`);
    return [status, text];
  };
  expect(await ask('/livez')).toEqual([200, 'ok\n']);
  expect(await ask('/readyz')).toEqual([200, 'ok\n']);
  answering.missing = ['bridge'];
  expect(await ask('/readyz')).toEqual([503, 'not ready: bridge\n']);
  expect(await ask('/livez')).toEqual([200, 'ok\n']);
});

it('the metrics are those of the registry, in the format of Prometheus', async () => {
  const { url } = await start();
  const { status, text, headers } = await get(`${url}/metrics`);
  expect(status).toBe(200);
  expect(headers.get('content-type')).toMatch(/^text\/plain; version=0\.0\.4/);
  expect(text).toMatch(/^keymend_example_total 7$/m);
});

it('with a token the metrics are for whoever knows it; whether it is alive and ready is for everybody', async () => {
  const { url } = await start({ token: 'a-secret' });
  const metrics = (authorization?: string) => get(`${url}/metrics`, authorization && { authorization });
  for (const wrong of [
    undefined,
    'Bearer',
    'Bearer ',
    'Bearer a-secre',
    'Bearer a-secret2',
    'Basic a-secret',
    'a-secret',
  ]) {
    const { status, text, headers } = await metrics(wrong);
    expect([wrong, status, headers.get('www-authenticate')]).toEqual([wrong, 401, 'Bearer']);
    expect(text).not.toContain('keymend_');
  }
  expect((await metrics('Bearer a-secret')).status).toBe(200);
  expect((await get(`${url}/livez`)).status).toBe(200);
  expect((await get(`${url}/readyz`)).status).toBe(200);
});

it('there is nothing else, and nothing can be sent', async () => {
  const { url } = await start();
  for (const path of ['/', '/metrics/', '/livez/x', '//livez', '/%6Civez']) {
    expect([path, (await get(`${url}${path}`)).status]).toEqual([path, 404]);
  }
  expect((await fetch(`${url}/livez`, { method: 'POST', body: 'x' })).status).toBe(405);
  const head = await fetch(`${url}/livez`, { method: 'HEAD' });
  expect([head.status, await head.text()]).toEqual([200, '']);
});

it('a port that another process has is waited for, and a line says so', async () => {
  const other = createServer();
  other.listen(0, HOST);
  await once(other, 'listening');
  const { port } = other.address() as AddressInfo;
  const { lines } = await start({ port });
  expect(lines).toEqual([
    expect.stringMatching(`^http://127\\.0\\.0\\.1:${port} is taken by another process: .*http\\.port`),
  ]);
  other.close();
  await eventually(() => expect(lines.at(-1)).toBe(`http://127.0.0.1:${port} has /livez, /readyz and /metrics`));
  expect((await get(`http://127.0.0.1:${port}/livez`)).status).toBe(200);
});

it('an address that is not one of this machine ends the start with one line', async () => {
  await expect(start({ host: '192.0.2.1', port: 9464 })).rejects.toThrow(
    /^http: 192\.0\.2\.1:9464 can't be listened on \(EADDRNOTAVAIL\); check http\.host and http\.port$/,
  );
});

async function get(url: string, headers?: Record<string, string> | '') {
  const response = await fetch(url, { headers: headers || {} });
  return { status: response.status, text: await response.text(), headers: response.headers };
}
