/** What a worker tells the workflow `notices`. */
import { setTimeout as sleep } from 'node:timers/promises';
import { expect, it } from 'vitest';
import type { SignalClient } from '../../src/bridge/runs/own-runs.js';
import { parseConfig } from '../../src/config.js';
import { LinkAttribute } from '../../src/temporal/link-attribute.js';
import { Notices } from '../../src/worker/notices.js';
import type { EscalateRequest } from '../../workflows/activities.js';
import type { EscalationNews, News } from '../../workflows/notices-messages.js';
import { type LogLine, loggerInto } from '../bridge/bridge-bed.js';
import { startReceiver } from '../support/webhook-receiver.js';
import { failedWrite } from '../support/workflow-bed.js';

/** @param takes whether Temporal takes a signal, by its number from 1 */
function bed({ url = 'http://127.0.0.1:1/S3CRET', takes = (_signal: number): boolean => true, tracing = {} } = {}) {
  const side = (port: number) => ({ url: `redis://127.0.0.1:${port}` });
  const webhook = { url, secret: 'S3CRET', allowPrivate: true };
  const links = [
    { name: 'told', source: side(1), target: side(2), workflowIdPrefix: 'a', escalation: { webhook } },
    { name: 'silent', source: side(3), target: side(4), workflowIdPrefix: 'b' },
  ];
  const config = parseConfig(JSON.stringify({ intake: 'redis-stream', links, ...tracing }), 'the test', {});
  const signals: { at: number; workflowId: string; news: readonly News[] }[] = [];
  let asked = 0;
  const client = {
    withDeadline: (_deadline: unknown, work: () => unknown) => work(),
    signalWithStart: async (
      _type: string,
      { workflowId, signalArgs }: { workflowId: string; signalArgs: [News[]] },
    ) => {
      if (!takes(++asked)) throw new Error('Temporal does not answer');
      signals.push({ at: performance.now(), workflowId, news: signalArgs[0] });
      return { signaledRunId: 'r' };
    },
  } as unknown as SignalClient;
  const logs: LogLine[] = [];
  const logger = loggerInto(logs);
  const attribute = new LinkAttribute(logger);
  const messages: string[] = [];
  const metrics = { webhookAsked: (link: string, result: string) => void messages.push(`${link} ${result}`) };
  const notices = new Notices({ client, taskQueue: 'q', attribute, metrics, ...config, logger });
  return { notices, signals, logs, messages };
}

const escalation = (key: string, type: string, link = 'told'): EscalateRequest => ({
  event: failedWrite({ key, link }),
  error: { type, message: 'as scripted', stage: 'write' },
  attempts: 8,
  firstFailedAt: '2026-11-20T23:00:00.000Z',
  lastFailedAt: '2026-11-20T23:00:00.000Z',
});

it('ten thousand escalations of a moment are two signals: the first at once, the others a moment later', async () => {
  const { notices, signals } = bed();
  await notices.escalated(escalation('first', 'Contended'));
  await Promise.all(
    Array.from({ length: 10_000 }, (_, n) =>
      notices.escalated(escalation(`k${n}`, n % 2 ? 'Contended' : 'NoPermission')),
    ),
  );
  expect(signals.map(({ workflowId }) => workflowId)).toEqual(Array(2).fill('keymend/notices/told'));
  expect(signals[1]!.at - signals[0]!.at).toBeGreaterThan(150);
  expect(signals[1]!.news).toMatchObject([
    { errorType: 'NoPermission', keys: 5_000, examples: ['k0', 'k2', 'k4'] },
    { errorType: 'Contended', keys: 5_000, examples: ['k1', 'k3', 'k5'] },
  ]);
});

it('what Temporal does not take is told to those who wait, and does not stand in the way of the next', async () => {
  const { notices, signals } = bed({ takes: (signal) => signal > 1 });
  await expect(notices.escalated(escalation('a', 'Contended'))).rejects.toThrow('Temporal does not answer');
  await notices.escalated(escalation('a', 'Contended'));
  expect(signals).toHaveLength(1);
});

it('nothing is told of a link without a webhook', async () => {
  const { notices, signals } = bed();
  await notices.escalated(escalation('a', 'Contended', 'silent'));
  await sleep(0);
  expect(signals).toEqual([]);
  expect([notices.isWanted('told'), notices.isWanted('silent')]).toEqual([true, false]);
});

it('a key that is named as an example is short, and shows what can not be seen', async () => {
  const { notices, signals } = bed();
  const binary = escalation('', 'Contended');
  await Promise.all([
    notices.escalated(escalation(`\u001b[31m\u202e${'x'.repeat(1_000)}`, 'Contended')),
    notices.escalated({ ...binary, event: { ...binary.event, key: '/wA=', encoding: 'base64' } }),
  ]);
  const [first, second] = (signals[0]!.news[0] as EscalationNews).examples;
  expect(first).toMatch(/^U\+1B\[31mU\+202Ex+$/);
  expect(first).toHaveLength(100);
  expect(second).toBe('base64:/wA=');
});

it.each([
  [{ privacy: 'plain' }, ['user:4711', 'base64:/wA=']],
  [{}, ['user…', '/w…']],
  // The output of: printf %s user:4711 | openssl dgst -sha256 -hmac 'only for this test' -r
  [
    { privacy: 'hmac', secret: 'only for this test' },
    ['hmac:65d1bc06607a3317a766bd8f457ccf4e', expect.stringMatching(/^hmac:[0-9a-f]{32}$/)],
  ],
])('a key that is named as an example is shown as in the log: %o', async (tracing, shown) => {
  const { notices, signals } = bed({ tracing: { tracing } });
  const binary = escalation('', 'Contended');
  await Promise.all([
    notices.escalated(escalation('user:4711', 'Contended')),
    notices.escalated({ ...binary, event: { ...binary.event, key: '/wA=', encoding: 'base64' } }),
  ]);
  expect(signals[0]!.news).toMatchObject([{ keys: 2, examples: shown }]);
});

it('an example is cut between characters', async () => {
  const { notices, signals } = bed({ tracing: { tracing: { privacy: 'plain' } } });
  await notices.escalated(escalation(`${'x'.repeat(99)}😀`, 'Contended'));
  const [{ examples }] = signals[0]!.news as readonly [EscalationNews];
  expect([examples[0]!.length, examples[0]!.isWellFormed()]).toEqual([100, true]);
});

it('a webhook that does not take a message is one line without its secrets, and a failure', async () => {
  const receiver = await startReceiver();
  const { notices, logs, messages } = bed({ url: receiver.url });
  const notice = { kind: 'outage', id: 'i', shard: 's', since: '', reason: '', until: null, keysWaiting: 1 } as const;
  expect(await notices.send({ ...notice, link: 'told' })).toBe('taken');
  receiver.answer(503);
  await expect(notices.send({ ...notice, link: 'told' })).rejects.toThrow(/answers 503$/);
  await receiver.close();
  await expect(notices.send({ ...notice, link: 'told' })).rejects.toThrow(/ECONNREFUSED$/);
  expect(await notices.send({ ...notice, link: 'silent' })).toBe('no-webhook');
  expect(logs.map(({ msg }) => msg)).toEqual([
    expect.stringMatching(/^link told: the webhook at \S+ answers 503. It is tried again; repairs go on$/),
    expect.stringMatching(/^link told: the webhook at \S+ can't be reached: ECONNREFUSED. It is tried again/),
    'link silent has no webhook in this configuration: a message is not sent from here',
  ]);
  expect(JSON.stringify(logs)).not.toMatch(/S3CRET|secret-path/);
  expect(receiver.received).toHaveLength(2);
  expect(messages).toEqual(['told sent', 'told failed', 'told failed']);
});
