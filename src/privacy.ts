/**
 * How a key is written where others than its owner read it: in spans, in the log and in messages of
 * a webhook.
 */
import { isUtf8 } from 'node:buffer';
import { createHmac } from 'node:crypto';

/**
 * `plain`: as it is. `truncate`: how it begins. `hmac`: a name that only those who know the secret
 * can find out, and that is the same in every process.
 */
export const PRIVACY = ['plain', 'truncate', 'hmac'] as const;

export type PrivacyRule =
  | { readonly privacy: Exclude<(typeof PRIVACY)[number], 'hmac'> }
  | { readonly privacy: 'hmac'; readonly secret: string };

/** A shorter secret can be guessed. */
export const SECRET_CHARACTERS = 16;

/** What a rule makes of a key, given as text or as raw bytes. */
export type ShownKey = (key: string | Buffer) => string;

/** Characters of one that is shown as it is: a span is no place for 64 KiB. */
const LONGEST = 256;
/** Of one that is cut, and never more than half of it: a short one would be there whole. */
const BEGINNING = 16;
/** Of the digest: so many bits never meet by chance. */
const DIGITS = 32;

/** @throws Error when the secret of an HMAC is missing, or too short */
export function shownKey(rule: PrivacyRule): ShownKey {
  switch (rule.privacy) {
    case 'plain':
      return (key) => beginning(textOf(key), LONGEST);
    case 'truncate':
      return (key) => {
        const text = textOf(key);
        return `${text.slice(0, Math.min(BEGINNING, text.length >> 1)).toWellFormed()}…`;
      };
    case 'hmac':
      // From the environment, say, where it may be missing.
      if (!(rule.secret?.length >= SECRET_CHARACTERS)) {
        throw new Error(`privacy: hmac needs a secret of at least ${SECRET_CHARACTERS} characters`);
      }
      return (key) => `hmac:${createHmac('sha256', rule.secret).update(key).digest('hex').slice(0, DIGITS)}`;
  }
}

/**
 * For where a key that may be shown has a form of its own.
 * @returns undefined where keys are shown as they are
 */
export function hidingKeys(rule: PrivacyRule | undefined): ShownKey | undefined {
  return rule === undefined || rule.privacy === 'plain' ? undefined : shownKey(rule);
}

/** Bytes that are no text are written as base64. */
function textOf(key: string | Buffer): string {
  return typeof key === 'string' ? key : key.toString(isUtf8(key) ? 'utf8' : 'base64');
}

function beginning(text: string, length: number): string {
  return text.length <= length ? text : `${text.slice(0, length).toWellFormed()}…`;
}
