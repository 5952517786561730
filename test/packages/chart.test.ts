/** The Helm chart, as far as that goes without Helm; with it: test/full/chart.test.ts. */
import { realpathSync } from 'node:fs';
import { expect, it } from 'vitest';
import { parse } from 'yaml';
import { z } from 'zod';
import { parseConfig } from '../../src/config.js';
import { pathOf, read } from '../documents/generated.js';

const CHART = 'charts/keymend';
const values = parse(read(`${CHART}/values.yaml`), { merge: true }) as Record<string, unknown>;
const schema = z.fromJSONSchema(JSON.parse(read(`${CHART}/values.schema.json`)));

it('has values that its schema takes, and refuses those that it does not know', () => {
  expect(schema.safeParse(values).error).toBeUndefined();
  const wrong: object[] = [
    { brigde: {} },
    { bridge: { replicas: 'two', resources: {} } },
    { sweeps: [{ link: 'east-to-west' }] },
    { serviceMonitor: { enabled: true, interval: '15 seconds' } },
  ];
  for (const change of wrong) expect(schema.safeParse({ ...values, ...change }).success).toBe(false);
});

it('has a configuration that keymend takes, with the http that the chart adds', () => {
  const [, host, port] = /dict "host" "([\d.]+)" "port" (\d+) "token"/.exec(read(`${CHART}/templates/_helpers.tpl`))!;
  const config = { ...(values.config as object), http: { host, port: Number(port), token: '${KEYMEND_HTTP_TOKEN}' } };
  const secrets = { SOURCE_URL: 'redis://east', TARGET_URL: 'redis://west', KEYMEND_HTTP_TOKEN: 'secret' };
  expect(parseConfig(JSON.stringify(config), 'values.yaml', secrets)).toMatchObject({
    http: { host: '0.0.0.0', port: 9464, token: 'secret' },
    links: [{ source: { url: 'redis://east' }, target: { url: 'redis://west' } }],
  });
});

it('is of this version of keymend, and has the rules, alerts and dashboard of monitoring/', () => {
  const { version } = JSON.parse(read('package.json')) as { version: string };
  expect(parse(read(`${CHART}/Chart.yaml`))).toMatchObject({ appVersion: version });
  expect(realpathSync(pathOf(`${CHART}/monitoring`))).toBe(realpathSync(pathOf('monitoring')));
});
