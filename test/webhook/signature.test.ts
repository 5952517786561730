import { createHmac } from 'node:crypto';
import { expect, it } from 'vitest';
import { signatureOf, verifyWebhook } from '../../src/webhook/signature.js';

const NOW = Date.parse('2026-11-20T23:00:00.999Z');
const T = '1795215600';
const at = (seconds: number) => ({ nowMs: NOW + seconds * 1_000 });

it('is the HMAC of time and body, as any receiver can compute it', () => {
  const expected = createHmac('sha256', 'secret').update(`${T}.{"a":"ö"}`).digest('hex');
  expect(signatureOf('{"a":"ö"}', 'secret', NOW)).toBe(`t=${T},v1=${expected}`);
});

it('holds for the body, the secret and the time that were signed, and for nothing else', () => {
  const header = signatureOf('body', 'secret', NOW);
  expect(verifyWebhook(Buffer.from('body'), header, 'secret', at(0))).toBe(true);
  expect(verifyWebhook('body!', header, 'secret', at(0))).toBe(false);
  expect(verifyWebhook('body', header, 'Secret', at(0))).toBe(false);
  expect(verifyWebhook('body', header.replace(T, `${Number(T) + 1}`), 'secret', at(0))).toBe(false);
});

it('is refused when it is sent again later', () => {
  const header = signatureOf('body', 'secret', NOW);
  expect(verifyWebhook('body', header, 'secret', at(299))).toBe(true);
  expect(verifyWebhook('body', header, 'secret', at(302))).toBe(false);
  expect(verifyWebhook('body', header, 'secret', at(-302))).toBe(false);
  expect(verifyWebhook('body', header, 'secret', { ...at(12), toleranceSeconds: 10 })).toBe(false);
});

it.each([undefined, '', 't=1', `t=${T},v1=00`, `v1=${'0'.repeat(64)}`, `t=${T},v1=${'0'.repeat(64)},v1=`])(
  '%j is no signature',
  (header) => {
    expect(verifyWebhook('body', header, 'secret', at(0))).toBe(false);
  },
);
