/** One message to one webhook: no redirect is followed, no private address asked, no time lost. */
import { type IncomingMessage, type RequestOptions, request as requestHttp } from 'node:http';
import { request as requestHttps } from 'node:https';
import { isIP, type LookupFunction } from 'node:net';
import type { Notice } from '../../workflows/notices-messages.js';
import type { WebhookConfig } from '../config.js';
import { exposed, forbidden, isPrivate, privateOnly, publicOnly } from './address.js';
import { bodyOf } from './formats/index.js';
import { SIGNATURE_HEADER, signatureOf } from './signature.js';

/**
 * Resolves when the receiver has taken it (any 2xx).
 * @param lookup for tests
 * @throws Error in one line which names the host alone: the url may be a secret
 */
export async function sendNotice(webhook: WebhookConfig, notice: Notice, lookup?: LookupFunction): Promise<void> {
  const url = new URL(webhook.url);
  const body = Buffer.from(JSON.stringify(bodyOf(webhook, notice)));
  let status: number;
  try {
    status = await post(webhook, url, body, notice.id, lookup);
  } catch (error) {
    throw new Error(`the webhook at ${url.host} can't be reached: ${reasonOf(error, webhook)}`);
  }
  if (status >= 300 && status < 400) {
    throw new Error(
      `the webhook at ${url.host} redirects (${status}), which is not followed: write the url that it means`,
    );
  }
  if (status < 200 || status >= 300) throw new Error(`the webhook at ${url.host} answers ${status}`);
}

function post(
  { secret, format, timeout, allowPrivate }: WebhookConfig,
  url: URL,
  body: Buffer,
  id: string,
  lookup: LookupFunction | undefined,
): Promise<number> {
  const host = url.hostname.replace(/^\[|\]$/g, '');
  // An address is never looked up.
  if (!allowPrivate && isIP(host) !== 0 && isPrivate(host)) throw forbidden(host);
  const isPlain = url.protocol === 'http:';
  if (isPlain && isIP(host) !== 0 && !isPrivate(host)) throw exposed(host);
  const checked = isPlain ? privateOnly() : allowPrivate ? undefined : publicOnly();
  const isSigned = secret !== undefined && format !== 'pagerduty';
  const options: RequestOptions = {
    method: 'POST',
    headers: {
      'Content-Type': 'application/json',
      'Content-Length': body.length,
      'User-Agent': 'keymend',
      // A server may be called anything.
      'X-Keymend-Id': encodeURI(id.toWellFormed()),
      ...(isSigned && { [SIGNATURE_HEADER]: signatureOf(body, secret, Date.now()) }),
    },
    // A connection of its own: one that is kept could be to an address of before.
    agent: false,
    signal: AbortSignal.timeout(timeout),
    ...((lookup ?? checked) && { lookup: lookup ?? checked }),
  };
  return new Promise((resolve, reject) => {
    const send = isPlain ? requestHttp : requestHttps;
    const sent = send(url, options, (answer: IncomingMessage) => {
      // What it says besides is of no use, and may be without end.
      resolve(answer.statusCode ?? 0);
      answer.on('error', () => {}).destroy();
    });
    // Without this, an answer 101 would leave the promise open for ever.
    sent.on('upgrade', (answer, socket) => {
      resolve(answer.statusCode ?? 0);
      socket.destroy();
    });
    sent.on('error', reject);
    sent.end(body);
  });
}

function reasonOf(error: unknown, { timeout }: WebhookConfig): string {
  if (!(error instanceof Error)) return 'no connection';
  if (error.name === 'ForbiddenAddress') return error.message;
  if (error.name === 'AbortError' || error.name === 'TimeoutError') return `no answer in ${timeout} ms`;
  // Not its message, which may have the url in it.
  const { code } = error as NodeJS.ErrnoException;
  return code ?? error.name;
}
