/**
 * Payloads that only keymend can read: AES-256-GCM, as the codecs in the examples of Temporal write
 * it. A payload says which key it wants, so keys can be replaced one after the other.
 */
import { createCipheriv, createDecipheriv, randomBytes } from 'node:crypto';
import type { Payload, PayloadCodec } from '@temporalio/common';
import proto from '@temporalio/proto';
import type { CodecConfig } from '../config.js';
import { readSecret } from '../secret-files.js';

const { Payload: PayloadMessage } = proto.temporal.api.common.v1;

export interface CodecKey {
  readonly id: string;
  /** 32 bytes as base64. */
  readonly secret: string;
}

/**
 * The message is one line: which key, what is wrong, what to do. Nothing of a secret or payload.
 */
export class CodecError extends Error {
  override readonly name = 'CodecError';
}

const ENCODING = 'binary/encrypted';
const KEY_ID = 'encryption-key-id';
const CIPHER = 'aes-256-gcm';
const KEY_BYTES = 32;
const NONCE_BYTES = 12;
const TAG_BYTES = 16;

/** @throws SecretFileError */
export function codecKeysOf({ keys }: CodecConfig): readonly CodecKey[] {
  return keys.map(({ id, secret, secretFile }) => ({ id, secret: secret ?? readSecret(secretFile!) }));
}

/**
 * For `dataConverter.payloadCodecs` of every client and worker of the namespace.
 * @param keys the first encrypts, all decrypt
 * @throws CodecError for a key that is none
 */
export function payloadCodec(keys: readonly CodecKey[]): PayloadCodec {
  const secrets = new Map(keys.map(({ id, secret }) => [id, bytesOf(id, secret)]));
  const [first] = keys;
  if (first === undefined) throw new CodecError('a codec needs a key');
  const metadata = { encoding: Buffer.from(ENCODING), [KEY_ID]: Buffer.from(first.id) };
  return {
    encode: async (payloads) =>
      payloads.map((payload) => ({
        metadata,
        data: encrypted(PayloadMessage.encode(payload).finish(), secrets.get(first.id)!),
      })),
    decode: async (payloads) => payloads.map((payload) => decrypted(payload, secrets)),
  };
}

/** Others were written before there was a codec, or by hand in the Web UI. */
function isEncrypted({ metadata }: Payload): boolean {
  return textOf(metadata?.encoding) === ENCODING;
}

function decrypted(payload: Payload, secrets: ReadonlyMap<string, Buffer>): Payload {
  if (!isEncrypted(payload)) return payload;
  const id = textOf(payload.metadata?.[KEY_ID]);
  const secret = secrets.get(id);
  if (secret === undefined) {
    throw new CodecError(
      `a payload is encrypted with the key "${id.slice(0, 64).replace(/[^ -~]/g, '?')}", which is not in temporal.codec.keys; add it behind the others, and start this process again`,
    );
  }
  const data = Buffer.from(payload.data ?? []);
  try {
    // Of so few bytes nonce and tag would overlap, and the tag may be short enough to guess.
    if (data.length < NONCE_BYTES + TAG_BYTES) throw new Error('shorter than its nonce and tag');
    const nonce = data.subarray(0, NONCE_BYTES);
    const decipher = createDecipheriv(CIPHER, secret, nonce, { authTagLength: TAG_BYTES });
    decipher.setAuthTag(data.subarray(-TAG_BYTES));
    const bytes = Buffer.concat([decipher.update(data.subarray(NONCE_BYTES, -TAG_BYTES)), decipher.final()]);
    return PayloadMessage.decode(bytes);
  } catch (error) {
    throw new CodecError(
      `a payload can't be decrypted with the key "${id}" of temporal.codec.keys: its secret is not the one that encrypted it; give each key the secret that it has in all processes, and start this one again`,
      { cause: error },
    );
  }
}

/** @returns nonce, ciphertext and tag, one behind the other */
function encrypted(bytes: Uint8Array, secret: Buffer): Buffer {
  const nonce = randomBytes(NONCE_BYTES);
  const cipher = createCipheriv(CIPHER, secret, nonce);
  return Buffer.concat([nonce, cipher.update(bytes), cipher.final(), cipher.getAuthTag()]);
}

function bytesOf(id: string, secret: string): Buffer {
  const bytes = Buffer.from(secret, 'base64');
  if (bytes.length === KEY_BYTES && bytes.toString('base64') === secret) return bytes;
  throw new CodecError(
    `temporal.codec.keys: the secret of "${id}" is not ${KEY_BYTES} bytes as base64; make one: openssl rand -base64 ${KEY_BYTES}`,
  );
}

function textOf(bytes: Uint8Array | null | undefined): string {
  return Buffer.from(bytes ?? []).toString();
}
