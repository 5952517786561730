/**
 * The failed-write record, version 1: the Kafka value that any producer in any language may write
 * (JSON, UTF-8). Strict about what would make a record mean something else, lenient about hints: a
 * hint that can't be used widens what is reconciled, which is always right. A new
 * field begins in `failed-write-schema.ts`.
 */
import { isUtf8 } from 'node:buffer';
import type { EncodedKey, FailedWrite } from '../../workflows/failed-write.js';
import { MAX_LINK_LENGTH } from '../defaults.js';
import { FIELDS, type Field, firstProblem, MAX_ID_LENGTH, MAX_KEY_BYTES, TIME } from './failed-write-schema.js';

export { failedWriteJsonSchema, MAX_KEY_BYTES } from './failed-write-schema.js';

/** A larger value is not read at all. Kafka's own default limit for a record is about the same. */
export const MAX_RECORD_BYTES = 1024 * 1024;
/** Past either limit the members are dropped, so that the whole key is reconciled. */
export const MAX_MEMBERS = 1_000;
export const MAX_MEMBERS_BYTES = 64 * 1024;
const MAX_ERROR_MESSAGE_LENGTH = 512;
const MAX_LABEL_LENGTH = 256;
// What is looked up for each record, as names of this file: some loaders, that of the tests is one,
// make a call of each use of an import.
const LIMITS = { id: MAX_ID_LENGTH, link: MAX_LINK_LENGTH, key: MAX_KEY_BYTES };
const IS_TIME = TIME;

/**
 * Why a record can't be taken as a failed write. `message` is one line for a person, without
 * anything from the record.
 */
interface DecodeProblem {
  readonly reason: 'invalid-json' | 'invalid-record' | 'unsupported-spec-version' | 'too-large';
  readonly message: string;
}

export type DecodedRecord =
  | { readonly ok: true; readonly event: FailedWrite /** Raw bytes. */; readonly key: Buffer }
  | { readonly ok: false; readonly problem: DecodeProblem };

/** What is known of the text of a record, so that not each of its strings has to be looked at. */
interface Written {
  /** What JSON writes of a part has no more: it escapes only what must be. */
  readonly bytes: number;
  /** Whether it has `\\u`: without, no half of a surrogate pair, which UTF-8 can't hold. */
  readonly escapes: boolean;
}

/** What a JSON object has under the names of the fields; what is null is absent. */
type Fields = Record<Field, unknown> & {
  /** It has nothing else, and no null. */
  isAll: boolean;
};

/** A record that the schema takes. Whether its hints are of use is not looked at. */
type Wire = Fields & {
  readonly id: string;
  readonly link: string;
  readonly key: string;
  readonly failedAt: string;
  readonly encoding: 'utf8' | 'base64' | undefined;
  readonly outcome: 'refused' | 'unknown' | undefined;
  readonly error: { readonly code?: string | null; readonly message?: string | null } | undefined;
  readonly origin: string | undefined;
};

type Event = { -readonly [Name in keyof FailedWrite]: FailedWrite[Name] };

/**
 * Reads a failed-write record. Never throws. For an ordinary one it takes less than twice as long
 * as `JSON.parse` alone, and a small multiple whatever the value holds. Fields that version 1 does
 * not know are dropped, so nothing unexpected travels on into Temporal; `failedAt` is brought to
 * UTC and `command` to upper case.
 * @param value the Kafka value as it came
 */
export function decodeFailedWrite(value: Buffer | null): DecodedRecord {
  if (value === null) return problem('invalid-record', 'the record has no value');
  if (value.length > MAX_RECORD_BYTES) {
    return problem('too-large', `the value has ${value.length} bytes; at most ${MAX_RECORD_BYTES} are read`);
  }
  const text = textOf(value);
  // What is no UTF-8 has become this character, which most texts can't even hold.
  if (text.includes('\ufffd') && !isUtf8(value)) return problem('invalid-json', 'the value is not valid UTF-8');
  let json: unknown;
  try {
    json = JSON.parse(text);
  } catch {
    // The parser's message quotes the text, which may hold a user's data.
    return problem('invalid-json', 'the value is not valid JSON');
  }
  if (typeof json !== 'object' || json === null || Array.isArray(json)) {
    return problem('invalid-record', 'the value is not a JSON object');
  }
  const fields = fieldsOf(json);
  return isWire(fields)
    ? fromWire(fields, json as Event, { bytes: value.length, escapes: text.includes('\\u') })
    : refused(fields);
}

/**
 * Writes a failed write as a record of version 1: nothing but the fields of the schema, so no more
 * than was meant gets out.
 */
export function encodeFailedWrite(event: FailedWrite): Buffer {
  const wire: Record<string, unknown> = {};
  for (const field of FIELDS) wire[field] = event[field];
  return Buffer.from(JSON.stringify(wire), 'utf8');
}

/** The raw bytes of a key. */
export function keyBytes({ key, encoding }: EncodedKey): Buffer {
  return Buffer.from(key, encoding);
}

/** A key as text: as it is where that loses nothing, else base64. */
export function encodeKey(key: Buffer): EncodedKey {
  return isUtf8(key)
    ? { key: key.toString('utf8'), encoding: 'utf8' }
    : { key: key.toString('base64'), encoding: 'base64' };
}

/** A byte order mark is no part of the text. */
function textOf(value: Buffer): string {
  const text = value.toString('utf8');
  return text.charCodeAt(0) === 0xfeff ? text.slice(1) : text;
}

/**
 * The fields in one object that always has the same shape. Of objects in many shapes each look-up
 * of a name costs more than all that is then done with it; a loop over their own names does not.
 */
function fieldsOf(json: object): Fields {
  const fields: Fields = {
    specVersion: undefined,
    id: undefined,
    link: undefined,
    key: undefined,
    encoding: undefined,
    command: undefined,
    members: undefined,
    outcome: undefined,
    failedAt: undefined,
    error: undefined,
    origin: undefined,
    isAll: true,
  };
  for (const name in json) {
    const value = (json as Record<string, unknown>)[name];
    // Many serialisers write null for what is absent.
    if (value === null) fields.isAll = false;
    else
      switch (name as Field | '') {
        case 'specVersion':
          fields.specVersion = value;
          break;
        case 'id':
          fields.id = value;
          break;
        case 'link':
          fields.link = value;
          break;
        case 'key':
          fields.key = value;
          break;
        case 'encoding':
          fields.encoding = value;
          break;
        case 'command':
          fields.command = value;
          break;
        case 'members':
          fields.members = value;
          break;
        case 'outcome':
          fields.outcome = value;
          break;
        case 'failedAt':
          fields.failedAt = value;
          break;
        case 'error':
          fields.error = value;
          break;
        case 'origin':
          fields.origin = value;
          break;
        default:
          fields.isAll = false;
      }
  }
  return fields;
}

/** What the schema says, by hand. */
function isWire(fields: Fields): fields is Wire {
  const { specVersion, id, link, key, failedAt, encoding, outcome, error, origin } = fields;
  return (
    specVersion === 1 &&
    isLabel(id, LIMITS.id) &&
    isLabel(link, LIMITS.link) &&
    typeof key === 'string' &&
    typeof failedAt === 'string' &&
    IS_TIME.test(failedAt) &&
    (encoding === undefined || encoding === 'utf8' || encoding === 'base64') &&
    (outcome === undefined || outcome === 'unknown' || outcome === 'refused') &&
    (error === undefined || isError(error)) &&
    (origin === undefined || typeof origin === 'string')
  );
}

function isLabel(value: unknown, maxLength: number): boolean {
  return typeof value === 'string' && value.length > 0 && value.length <= maxLength;
}

function isError(value: unknown): boolean {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) return false;
  const { code, message } = value as { code?: unknown; message?: unknown };
  return (isAbsent(code) || typeof code === 'string') && (isAbsent(message) || typeof message === 'string');
}

function isAbsent(value: unknown): value is null | undefined {
  return value === undefined || value === null;
}

/** Says what is wrong with a record that `isWire` does not take. */
function refused({ isAll: _isAll, command: _command, members: _members, ...fields }: Fields): DecodedRecord {
  const { specVersion, error } = fields;
  if (typeof specVersion === 'number' && Number.isInteger(specVersion) && specVersion > 1) {
    return problem(
      'unsupported-spec-version',
      `specVersion ${specVersion} is newer than this keymend understands; upgrade the bridge, then redrive`,
    );
  }
  if (typeof error === 'object' && error !== null && !Array.isArray(error)) {
    const { code, message } = error as { code?: unknown; message?: unknown };
    fields.error = { code: code ?? undefined, message: message ?? undefined };
  }
  return problem('invalid-record', firstProblem(fields) ?? 'it does not follow the schema');
}

/** @param json what the fields are of; it may become the event */
function fromWire(wire: Wire, json: Event, written: Written): DecodedRecord {
  const { id, link, key } = wire;
  const { encoding = 'utf8' } = wire;
  if (written.escapes) {
    for (const [name, text] of Object.entries({ id, link, key })) {
      if (!text.isWellFormed()) return problem('invalid-record', `${name}: half of a surrogate pair is not text`);
    }
  }
  if (encoding === 'base64' && !isBase64(key)) {
    return problem('invalid-record', 'key: is not base64, as encoding says');
  }
  const raw = keyBytes({ key, encoding });
  if (raw.length > LIMITS.key) {
    return problem('too-large', `the key has ${raw.length} bytes; at most ${MAX_KEY_BYTES} are supported`);
  }
  return { ok: true, key: raw, event: bounded(wire, json, written) };
}

/** Cuts hints to their limits and brings them to one form. Absent stays absent. */
function bounded(wire: Wire, json: Event, written: Written): FailedWrite {
  const command = isCommand(wire.command) ? wire.command.toUpperCase() : undefined;
  const members = areMembers(wire.members, wire.encoding, written) ? wire.members : undefined;
  const failedAt = utc(wire.failedAt);
  const error = wire.error && {
    code: cut(wire.error.code, MAX_LABEL_LENGTH, written),
    message: cut(wire.error.message, MAX_ERROR_MESSAGE_LENGTH, written),
  };
  const origin = cut(wire.origin, MAX_LABEL_LENGTH, written);
  if (wire.isAll && members === wire.members && (command === undefined) === (wire.command === undefined)) {
    // Nothing is to be left out.
    if (command !== wire.command) json.command = command;
    if (failedAt !== wire.failedAt) json.failedAt = failedAt;
    if (origin !== wire.origin) json.origin = origin;
    if (error !== undefined) json.error = error;
    return json;
  }
  const { id, link, key, encoding, outcome } = wire;
  const event: Event = { specVersion: 1, id, link, key, failedAt };
  if (encoding !== undefined) event.encoding = encoding;
  if (command !== undefined) event.command = command;
  if (members !== undefined) event.members = members;
  if (outcome !== undefined) event.outcome = outcome;
  if (error !== undefined) event.error = error;
  if (origin !== undefined) event.origin = origin;
  return event;
}

function utc(time: string): string {
  // In this form it is what a Date would write, at a hundredth of the cost.
  const isWritten = time.length === 24 && time.endsWith('Z') && time[19] === '.';
  return isWritten ? time : new Date(time).toISOString();
}

/** Letters that are none of ASCII are in no command, and in upper case could become such. */
function isCommand(hint: unknown): hint is string {
  return typeof hint === 'string' && hint.length <= 64 && /^[A-Za-z0-9._-]+$/.test(hint);
}

/** Whether the members can be used: the first that can't be decides. */
function areMembers(hint: unknown, encoding: Wire['encoding'], { bytes, escapes }: Written): hint is string[] {
  if (!Array.isArray(hint) || hint.length > MAX_MEMBERS) return false;
  let length = 0;
  for (const member of hint as unknown[]) {
    if (typeof member !== 'string') return false;
    length += member.length;
    if (length > MAX_MEMBERS_BYTES) return false;
    if (encoding === 'base64' ? !isBase64(member) : escapes && !member.isWellFormed()) return false;
  }
  return bytes <= MAX_MEMBERS_BYTES || Buffer.byteLength(JSON.stringify(hint)) <= MAX_MEMBERS_BYTES;
}

function cut(text: string | null | undefined, length: number, { escapes }: Written): string | undefined {
  if (isAbsent(text)) return undefined;
  // A cut can go through the middle of a pair.
  if (text.length > length) return text.slice(0, length).toWellFormed();
  return escapes ? text.toWellFormed() : text;
}

function isBase64(text: string): boolean {
  return text.length % 4 === 0 && /^[A-Za-z0-9+/]*={0,2}$/.test(text);
}

function problem(reason: DecodeProblem['reason'], message: string): DecodedRecord {
  return { ok: false, problem: { reason, message } };
}
