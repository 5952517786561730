/** Signatures of messages, so that a receiver knows who sent them, and when. */
import { createHmac, timingSafeEqual } from 'node:crypto';

/** The header of a signature: `t=<seconds since the epoch>,v1=<hex>`. */
export const SIGNATURE_HEADER = 'X-Keymend-Signature';
const TOLERANCE_SECONDS = 300;

/**
 * HMAC-SHA256 of `<t>.<body>`. The time is signed along, so that a receiver can refuse what
 * somebody sends again later.
 * @param nowMs ms since the epoch
 */
export function signatureOf(body: string | Buffer, secret: string, nowMs: number): string {
  const t = String(Math.floor(nowMs / 1_000));
  return `t=${t},v1=${digest(body, secret, t).toString('hex')}`;
}

export interface VerifyOptions {
  /** How old, or how far ahead, a message may be; default 300. */
  readonly toleranceSeconds?: number;
  /** ms since the epoch; default: now. */
  readonly nowMs?: number;
}

/**
 * For whoever receives the webhook: whether keymend sent this body, just now. Constant in time.
 * @param body as it came, before it is parsed
 * @param header that of `X-Keymend-Signature`
 */
export function verifyWebhook(
  body: string | Buffer,
  header: string | undefined,
  secret: string,
  { toleranceSeconds = TOLERANCE_SECONDS, nowMs = Date.now() }: VerifyOptions = {},
): boolean {
  const [, t = '', v1 = ''] = /^t=(\d{1,12}),v1=([0-9a-f]{64})$/.exec(header ?? '') ?? [];
  if (t === '' || Math.abs(nowMs / 1_000 - Number(t)) > toleranceSeconds) return false;
  return timingSafeEqual(Buffer.from(v1, 'hex'), digest(body, secret, t));
}

function digest(body: string | Buffer, secret: string, t: string): Buffer {
  return createHmac('sha256', secret).update(`${t}.`).update(body).digest();
}
