/**
 * Fields of log lines in which a key stands, as `tracing.privacy` lets it be shown: in one place
 * for all lines, those of Temporal's SDK too.
 */
import type { Config } from '../config.js';
import { keyBytes } from '../events/failed-write-codec.js';
import { hidingKeys } from '../privacy.js';

type Fields = Record<string, unknown>;

/** What the IDs of keymend's other workflows begin with, which are no keys. */
const NO_KEY = 'keymend/';
/** A key in a workflow ID that is made with a secret already. */
const HMAC = /^hmac:[0-9a-f]{64}$/;
/** A producer may make its ids of anything; these are ULIDs and UUIDs. */
const NO_TEXT = /^(?:[0-9A-HJKMNP-TV-Z]{26}|[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})$/i;
const IDS = ['workflowId', 'workflow_id'];

/** @returns undefined where keys are shown as they are */
export function privateFields({ tracing, links }: Pick<Config, 'tracing' | 'links'>) {
  const shown = hidingKeys(tracing);
  if (shown === undefined) return undefined;
  const prefixes = links.map(({ workflowIdPrefix }) => workflowIdPrefix);

  /**
   * The prefix of the link is none of the key's. A digest of a key is shown like a key: who guesses
   * the key could find out by it.
   */
  const shownId = (id: string): string => {
    const prefix = prefixes.find((prefix) => id.startsWith(prefix)) ?? '';
    const key = id.slice(prefix.length);
    const isNoKey = id.startsWith(NO_KEY) && !prefix.startsWith(NO_KEY);
    return isNoKey || HMAC.test(key) ? id : prefix + shown(key);
  };

  return (fields: Fields): Fields => {
    const { key, encoding, eventId, asked } = fields;
    const changed: Fields = {};
    for (const name of IDS) if (typeof fields[name] === 'string') changed[name] = shownId(fields[name]);
    if (typeof eventId === 'string' && !NO_TEXT.test(eventId)) changed.eventId = shown(eventId);
    // The pattern of a sweep may be a key.
    const { match } = (asked ?? {}) as Fields;
    if (typeof match === 'string') changed.asked = { ...(asked as Fields), match: shown(match) };
    if (typeof key === 'string') {
      changed.key = shown(keyBytes({ key, encoding: encoding === 'base64' ? 'base64' : 'utf8' }));
      // Of what is shown it says nothing.
      changed.encoding = undefined;
    }
    return { ...fields, ...changed };
  };
}
