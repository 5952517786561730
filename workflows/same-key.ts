/**
 * Whether two texts stand for the same raw key. Without `Buffer`, which workflows do not have.
 */
import type { KeyEncoding } from './messages.js';

const ALPHABET = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/';

/** As text, or as base64 of its bytes. */
interface AnyKey {
  readonly key: string;
  readonly encoding?: KeyEncoding | undefined;
}

/** The key of a run. Of two ways to write it the other one is compared once, not for each event. */
export class OwnKey {
  readonly #key: AnyKey;
  /** As the last failed write of this key has written it. */
  #alias: AnyKey | null = null;

  constructor(key: AnyKey) {
    this.#key = key;
  }

  /** Whether a failed write is of it. */
  is({ key, encoding }: AnyKey): boolean {
    if (this.#alias?.key === key && this.#alias.encoding === encoding) return true;
    if (!isSameKey({ key, encoding }, this.#key)) return false;
    this.#alias = { key, encoding };
    return true;
  }
}

function isSameKey(one: AnyKey, other: AnyKey): boolean {
  if ((one.encoding ?? 'utf8') === (other.encoding ?? 'utf8')) return one.key === other.key;
  return bytesOf(one).join() === bytesOf(other).join();
}

function bytesOf({ key, encoding }: AnyKey): readonly number[] {
  return encoding === 'base64' ? fromBase64(key) : [...new TextEncoder().encode(key)];
}

function fromBase64(text: string): readonly number[] {
  const bits = [...text.replace(/=+$/, '')]
    .map((digit) => ALPHABET.indexOf(digit).toString(2).padStart(6, '0'))
    .join('');
  return (bits.match(/.{8}/g) ?? []).map((byte) => Number.parseInt(byte, 2));
}
