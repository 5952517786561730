import { Connection, ServiceError, WorkflowClient } from '@temporalio/client';
import { ApplicationFailure } from '@temporalio/common';
import { expect, it } from 'vitest';
import { workflowIdFor } from '../../src/bridge/workflow-id.js';
import { createLogTo } from '../../src/cli/log.js';
import { privateFields } from '../../src/cli/private-fields.js';
import { type Config, parseConfig } from '../../src/config.js';
import { type PrivacyRule, shownKey } from '../../src/privacy.js';
import { Metrics } from '../../src/telemetry/metrics.js';
import { workerMetrics } from '../../src/telemetry/worker-metrics.js';
import { tellSweeps } from '../../src/worker/ended-attempts.js';
import { createRelease } from '../../src/worker/release.js';
import { runtimeLogger } from '../../src/worker/runtime-logger.js';
import type { SweepSummary } from '../../workflows/sweep-messages.js';
import { stack } from '../support/services.js';

const SECRET = 'only for this test';
const hmac = { privacy: 'hmac', secret: SECRET } as const;

it.each<[PrivacyRule['privacy'], string | Buffer, string]>([
  ['plain', 'user:4711', 'user:4711'],
  ['plain', Buffer.from([0xff, 0x00]), '/wA='],
  ['plain', 'x'.repeat(70_000), `${'x'.repeat(256)}…`],
  ['truncate', 'user:4711', 'user…'],
  ['truncate', 'a', '…'],
  ['truncate', 'session:of:a:person:4711', 'session:of:a…'],
  ['truncate', `session:of:a:person:${'4711'.repeat(9)}`, 'session:of:a:per…'],
  // The output of: printf %s user:4711 | openssl dgst -sha256 -hmac 'only for this test' -r
  ['hmac', 'user:4711', 'hmac:65d1bc06607a3317a766bd8f457ccf4e'],
])('%s shows %j as %s', (privacy, key, shown) => {
  expect(shownKey({ privacy, secret: SECRET } as PrivacyRule)(key)).toBe(shown);
});

it('half of a surrogate pair is not shown', () => {
  expect(shownKey({ privacy: 'truncate' })('🙂').isWellFormed()).toBe(true);
});

it('an HMAC without a secret is refused: it would be a digest that anybody can make', () => {
  for (const secret of [undefined, '', 'short'])
    expect(() => shownKey({ privacy: 'hmac', secret } as PrivacyRule)).toThrow('needs a secret of at least 16');
});

function configured(tracing: string, prefix = 'a/'): Config {
  const link = `{ name: a, source: { url: redis://a }, target: { url: redis://b }, workflowIdPrefix: ${prefix} }`;
  return parseConfig(`kafka: { brokers: [h:1] }\nlinks: [${link}]\n${tracing}`, 'keymend.yaml', {});
}

it('a configuration says what is wrong with tracing, with its place', () => {
  const wrong = (tracing: string) => () => configured(`tracing: ${tracing}`);
  expect(wrong('{ privacy: hmac }')).toThrow('keymend.yaml: tracing.secret: is missing: privacy: hmac needs one');
  expect(wrong('{ privacy: hmac, secret: short }')).toThrow('tracing.secret: must have at least 16 characters');
  expect(wrong('{ otlp: collector:4317 }')).toThrow('tracing.otlp: must be a url such as http://collector:4318');
  for (const url of ['http://user:pass@h:1', 'http://h:1?token=secret', 'http://h:1/?', 'http://h:1#secret'])
    expect(wrong(`{ otlp: "${url}" }`)).toThrow(/without user, password and .*OTEL_EXPORTER_OTLP_HEADERS$/);
  expect(configured('tracing: { otlp: http://collector:4318 }').tracing).toEqual({
    otlp: 'http://collector:4318',
    privacy: 'truncate',
  });
});

it('log lines have a key by the rule wherever it stands in them; the prefix of the link is none of it', () => {
  const fields = privateFields(configured(`tracing: { privacy: hmac, secret: ${SECRET} }`))!;
  const shown = shownKey(hmac)('user:4711');
  expect(fields({ link: 'a', workflowId: 'a/user:4711', key: 'user:4711', encoding: 'utf8', attempts: 3 })).toEqual({
    link: 'a',
    workflowId: `a/${shown}`,
    key: shown,
    attempts: 3,
  });
  const base64 = Buffer.from('user:4711').toString('base64');
  expect(fields({ key: base64, encoding: 'base64' })).toEqual({ key: shown });
  expect(fields({ eventId: 'user:4711' })).toEqual({ eventId: shown });
  const noKeys = { workflowId: 'keymend/sweep/a', eventId: '01JD8QZ5T3W9X0Y1Z2A3B4C5D6' };
  expect(fields(noKeys)).toEqual(noKeys);
});

it('a digest of a key is no way around the secret: anybody can make it of a guess', () => {
  const id = workflowIdFor('a/', Buffer.from('user:4711\n'));
  expect(id).toMatch(/^a\/sha256:[0-9a-f]{64}$/);
  const fields = privateFields(configured(`tracing: { privacy: hmac, secret: ${SECRET} }`))!;
  expect(fields({ workflowId: id })).toEqual({ workflowId: `a/${shownKey(hmac)(id.slice(2))}` });
  const own = configured(`tracing: { privacy: hmac, secret: ${SECRET} }`, 'keymend/a/');
  const hashed = workflowIdFor('keymend/a/', Buffer.from('user:4711'));
  expect(privateFields(own)!({ workflowId: hashed }).workflowId).toMatch(/^keymend\/a\/hmac:[0-9a-f]{32}$/);
});

it('without tracing, and with plain, log lines are left as they are', () => {
  expect(privateFields(configured(''))).toBeUndefined();
  expect(privateFields(configured('tracing: { privacy: plain }'))).toBeUndefined();
});

/** A log as a process under `hmac` writes it. */
function privateLog() {
  const config = configured(`tracing: { privacy: hmac, secret: ${SECRET} }`);
  const lines: string[] = [];
  const logger = createLogTo({ write: (line) => lines.push(line) }, 'debug', privateFields(config));
  return { config, logger, text: () => lines.join('') };
}

it('Temporal names a workflow in its words: they are not in a line that speaks of one key', async () => {
  const connection = await Connection.connect({ address: stack().temporal.address });
  const client = new WorkflowClient({ connection });
  const { config, logger, text } = privateLog();
  await expect(client.getHandle('a/user:4711').describe()).rejects.toThrow('user:4711');
  await createRelease({ client, taskQueue: 'q', links: config.links, logger })('a', Buffer.from('user:4711'));
  await connection.close();
  expect(text()).toContain('"error":"workflow not found for ID: …"');
  expect(text()).not.toContain('user:4711');
});

it('the pattern of a sweep may be a key: no line of the sweep has it but as keys are shown', () => {
  const { logger, text } = privateLog();
  const { onSwept, onFailed } = tellSweeps(logger, workerMetrics(new Metrics(), ['a']));
  const swept = { link: 'a', options: { match: 'user:4711', type: 'hash' } };
  const none = { missing: 0, extra: 0, type: 0, value: 0, expiry: 0 };
  const counts = { compared: 0, differing: none, handedOver: 0, repaired: 0, unsettled: 0, failed: 0, unhealed: 0 };
  const rest = { outcome: 'incomplete', reasons: [], timeline: { found: [], healed: [] }, prefixes: [], listed: [] };
  onSwept(swept, { ...counts, ...rest, targetOnly: 'skipped', redone: 0 } as SweepSummary);
  onFailed(swept, { type: 'TargetUnavailable', message: 'no answer' });
  const lines = text().trim().split('\n');
  expect(lines).toHaveLength(2);
  for (const line of lines) {
    expect(line).toContain(`"asked":{"match":"${shownKey(hmac)('user:4711')}","type":"hash"}`);
    expect(line).toContain('sweep of link a (keys that match a pattern, type hash)');
  }
  expect(text()).not.toContain('user:4711');
});

it('of what the SDK of Temporal tells the log has fields that have no key in them', () => {
  const { logger, text } = privateLog();
  const cause = new Error('5 NOT_FOUND: workflow not found for ID: a/user:4711');
  const { warn } = runtimeLogger(logger, () => {});
  const about = { workflowId: 'a/user:4711', attempt: 2, failure: 'of a/user:4711', status: 'a/user:4711' };
  warn('Activity failed', { ...about, error: new ServiceError('Failed to signal', { cause }) });
  warn('Activity failed', { ...about, error: ApplicationFailure.create({ type: 'TargetWrong', message: 'ours' }) });
  warn('Activity failed', { ...about, error: new TypeError('a bug') });
  const lines = text().trim().split('\n');
  expect(lines[0]).toContain(
    '"error":{"type":"ServiceError","message":"Failed to signal: NOT_FOUND: workflow not found for ID: …"}',
  );
  expect(lines[1]).toContain('"error":{"type":"TargetWrong","message":"ours"}');
  expect(lines[2]).toContain('"error":{"type":"TypeError","message":"a bug"}');
  for (const line of lines) expect(line).toContain(`"workflowId":"a/${shownKey(hmac)('user:4711')}","attempt":2`);
  expect(text()).not.toContain('user:4711');
});
