/** Messages over real connections. */
import { type AddressInfo, createServer } from 'node:net';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { parseConfig, type WebhookConfig } from '../../src/config.js';
import { publicOnly } from '../../src/webhook/address.js';
import { sendNotice } from '../../src/webhook/send.js';
import { verifyWebhook } from '../../src/webhook/signature.js';
import type { Notice } from '../../workflows/notices-messages.js';
import { type Receiver, startReceiver } from '../support/webhook-receiver.js';

const NOTICE: Notice = {
  kind: 'escalations',
  id: 'run/1',
  link: 'l',
  errorType: 'Contended',
  keys: 3,
  firstAt: '2026-11-20T23:00:00.000Z',
  lastAt: '2026-11-20T23:00:59.000Z',
  examples: ['k'],
};

let receiver: Receiver;
beforeEach(async () => {
  receiver = await startReceiver();
});
afterEach(() => receiver.close());

function webhook(changes: object = {}): WebhookConfig {
  const options = { url: receiver.url, secret: 's3cret', allowPrivate: true, timeout: '10s', ...changes };
  const links = [
    { name: 'l', source: { url: 'redis://a' }, target: { url: 'redis://b' }, escalation: { webhook: options } },
  ];
  return parseConfig(JSON.stringify({ intake: 'redis-stream', links }), 'the test', {}).links[0]!.escalation.webhook!;
}

const refusal = (sent: Promise<void>) =>
  sent.then(
    () => 'sent',
    (error: Error) => error.message,
  );

it('is a POST of JSON, signed so that the receiver knows it, and refuses it later', async () => {
  await sendNotice(webhook(), NOTICE);
  const [{ method, path, headers, body }] = receiver.received as [Receiver['received'][number]];
  expect([method, path, headers['content-type'], headers['x-keymend-id']]).toEqual([
    'POST',
    '/hook/secret-path',
    'application/json',
    'run/1',
  ]);
  expect(JSON.parse(body)).toMatchObject({ kind: 'escalations', errorType: 'Contended', keys: 3 });
  const signature = String(headers['x-keymend-signature']);
  expect(verifyWebhook(body, signature, 's3cret')).toBe(true);
  expect(verifyWebhook(body, signature, 's3cret', { nowMs: Date.now() + 400_000 })).toBe(false);
});

it('has the integration key of PagerDuty in its body, and no signature', async () => {
  await sendNotice(webhook({ format: 'pagerduty' }), NOTICE);
  const [{ headers, body }] = receiver.received as [Receiver['received'][number]];
  expect(JSON.parse(body)).toMatchObject({ routing_key: 's3cret', event_action: 'trigger' });
  expect(headers['x-keymend-signature']).toBeUndefined();
});

it('has an id that fits into a header, whatever the server is called', async () => {
  await sendNotice(webhook(), { ...NOTICE, id: 'l/größe\n\ud800' });
  expect(receiver.received[0]!.headers['x-keymend-id']).toBe('l/gr%C3%B6%C3%9Fe%0A%EF%BF%BD');
});

it('that is answered with an error, or redirected, is a failure that names the host alone', async () => {
  receiver.answer(500);
  expect(await refusal(sendNotice(webhook(), NOTICE))).toBe(`the webhook at 127.0.0.1:${receiver.port} answers 500`);
  receiver.answer(302, { Location: `${receiver.url}/elsewhere` });
  expect(await refusal(sendNotice(webhook(), NOTICE))).toMatch(
    /^the webhook at \S+ redirects \(302\), which is not followed/,
  );
  expect(receiver.received.map(({ path }) => path)).toEqual(['/hook/secret-path', '/hook/secret-path']);
});

it('that is answered with a change of the protocol is a failure, and no wait without end', async () => {
  const server = createServer((socket) => {
    socket.on('error', () => {});
    socket.write('HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\n');
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as AddressInfo;
  try {
    expect(await refusal(sendNotice(webhook({ url: `http://127.0.0.1:${port}/` }), NOTICE))).toContain('101');
  } finally {
    server.close();
  }
});

it('that gets no answer in time is a failure', async () => {
  receiver.answer(null);
  expect(await refusal(sendNotice(webhook({ timeout: '200ms' }), NOTICE))).toMatch(/: no answer in 200 ms$/);
});

it('that reaches nobody is a failure which says neither path nor secret', async () => {
  await receiver.close();
  const said = await refusal(sendNotice(webhook(), NOTICE));
  expect(said).toBe(`the webhook at 127.0.0.1:${receiver.port} can't be reached: ECONNREFUSED`);
  receiver = await startReceiver();
});

it('is not sent to a private address, whether it is written as such or found behind a name', async () => {
  const url = (host: string) => `https://${host}:${receiver.port}/hook`;
  for (const host of [
    '127.0.0.1',
    '2130706433',
    '0x7f.1',
    '[::1]',
    '[::ffff:127.0.0.1]',
    '169.254.169.254',
    'localhost',
  ]) {
    const said = await refusal(sendNotice(webhook({ url: url(host), allowPrivate: false }), NOTICE));
    expect(said, host).toMatch(/has, an address of a private network; write allowPrivate: true if that is meant$/);
  }
  expect(receiver.received).toEqual([]);
});

it('is not sent without TLS to the open internet, also where private addresses are meant', async () => {
  for (const host of ['1.1.1.1', '[2606:4700::1]']) {
    const said = await refusal(sendNotice(webhook({ url: `http://${host}/hook`, allowPrivate: true }), NOTICE));
    expect(said, host).toMatch(
      /an address of the open internet, where a message without TLS can be read; write https$/,
    );
  }
});

it('goes where the name was when it was checked, whatever it says a moment later', async () => {
  const answers = ['1.1.1.1', '127.0.0.1'];
  const asked: string[] = [];
  const rebinding = publicOnly((host, _options, callback) => {
    asked.push(host);
    callback(null, [{ address: answers[asked.length - 1] ?? '127.0.0.1', family: 4 }]);
  });
  const url = `https://rebinding.example:${receiver.port}/`;
  await refusal(sendNotice(webhook({ url, allowPrivate: false, timeout: '300ms' }), NOTICE, rebinding));
  expect(asked).toEqual(['rebinding.example']);
  expect(receiver.received).toEqual([]);
});
