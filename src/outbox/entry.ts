/**
 * The outbox: a Redis Stream on the source of a link (in a Cluster several) that holds failed-write
 * records until somebody takes them over. One entry is one record. Its field `value` is what the
 * Kafka value would be, its field `key` the raw Redis key; any other field but `intent` stands for
 * a Kafka header.
 */
import type { FailedWrite } from '../../workflows/failed-write.js';
import type { DeadLetter } from '../events/dead-letter.js';
import { encodeFailedWrite, keyBytes } from '../events/failed-write-codec.js';
import type { IntakeRecord } from '../events/intake.js';

/**
 * The field of an entry that a DualWriter in transactional mode made before its write, and removes
 * when it is not needed. Its value: so many ms after the entry was made nobody shall take it up,
 * unless the application has told more by then. The ID of the entry tells when that was.
 */
export const INTENT_FIELD = 'intent';

/** Fields and values of an entry, in turn. */
export type EntryFields = (Buffer | string)[];

/** The entry of a failed write. */
export function outboxFields(event: FailedWrite): EntryFields {
  const { key, encoding = 'utf8', traceparent } = event;
  const headers = traceparent === undefined ? [] : ['traceparent', traceparent];
  return ['key', keyBytes({ key, encoding }), 'value', encodeFailedWrite(event), ...headers];
}

/** Fields and values of an entry that a script appends: Lua's stack holds 8,000 of them. */
const MOST_IN_ENTRY = 7_000;

/**
 * The entry of a dead letter. A field for each header, one for each value where a header has
 * several; the timestamp is in them. What says why it is a letter comes first: of headers without
 * end, which anybody may write, those are left out that no script could append.
 */
export function deadLetterFields({ key, value, headers }: DeadLetter): EntryFields {
  const fields: EntryFields = [];
  if (key !== null) fields.push('key', key);
  if (value !== null) fields.push('value', value);
  const each = Object.entries(headers).flatMap(([name, values]) =>
    (Array.isArray(values) ? values : [values]).map((one, index) => ({ name, one, index })),
  );
  const isOurs = ({ name, index }: (typeof each)[number]) => name.startsWith('dlq.') && index === 0;
  for (const { name, one } of [...each.filter(isOurs), ...each.filter((header) => !isOurs(header))])
    if (fields.length < MOST_IN_ENTRY) fields.push(name, one);
  return fields;
}

/**
 * An entry as an intake reads it. Never throws: whether it is a failed write shows when its value
 * is decoded.
 * @param stream the key of the stream
 * @param entry `id`: `<ms since the epoch>-<number>`
 */
export function entryRecord(
  stream: string,
  { id, fields }: { readonly id: string; readonly fields: readonly Buffer[] },
): IntakeRecord {
  let key: Buffer | null = null;
  let value: Buffer | null = null;
  const headers = new Map<string, Buffer[]>();
  for (let at = 0; at < fields.length; at += 2) {
    const name = fields[at]!.toString();
    const content = fields[at + 1]!;
    if (name === 'key' && key === null) key = content;
    else if (name === 'value' && value === null) value = content;
    else if (name !== INTENT_FIELD) {
      // Added to, not made anew: an entry may have one name a hundred thousand times.
      const values = headers.get(name);
      if (values === undefined) headers.set(name, [content]);
      else values.push(content);
    }
  }
  const position = { topic: stream, partition: 0, offset: id, timestamp: id.split('-')[0]! };
  return { key, value, headers: Object.fromEntries(headers), position };
}

/**
 * Until when an entry is to be left alone, in ms since the epoch by the clock of the source.
 * @returns null for one that is no intent
 */
export function intentUntil({
  id,
  fields,
}: {
  readonly id: string;
  readonly fields: readonly Buffer[];
}): number | null {
  for (let at = 0; at < fields.length; at += 2) {
    if (fields[at]!.toString() !== INTENT_FIELD) continue;
    const graceMs = Number(fields[at + 1]!.toString());
    return Number.isFinite(graceMs) ? Number(id.split('-')[0]) + graceMs : null;
  }
  return null;
}
