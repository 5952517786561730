/**
 * The failed-write record, version 1: the Kafka value that any producer in any language may write
 * (JSON, UTF-8). Strict about what would make a record mean something else, lenient about hints: a
 * hint that can't be used widens what is reconciled, which is always right.
 */
import { isUtf8 } from 'node:buffer';
import { z } from 'zod';
import type { EncodedKey, FailedWrite } from '../../workflows/messages.js';
import { MAX_LINK_LENGTH } from '../defaults.js';
import type { Same } from './same.js';

/** A larger value is not read at all. Kafka's own default limit for a record is about the same. */
export const MAX_RECORD_BYTES = 1024 * 1024;
/**
 * Longest Redis key, raw bytes. The key travels in the workflow's input and in each of its failed
 * writes, escaped as JSON (up to six bytes for one); this keeps both far below the 2 MiB that
 * Temporal allows for a payload.
 */
export const MAX_KEY_BYTES = 64 * 1024;
/** Past either limit the members are dropped, so that the whole key is reconciled. */
export const MAX_MEMBERS = 1_000;
export const MAX_MEMBERS_BYTES = 64 * 1024;
const MAX_ID_LENGTH = 256;
const MAX_ERROR_MESSAGE_LENGTH = 512;
const MAX_LABEL_LENGTH = 256;

const ENCODING = 'base64: `key` and `members` are base64 of raw bytes. Default utf8: they are text.';

const schema = z
  .object({
    specVersion: z.literal(1).describe('Version of this record format.'),
    id: z.string().min(1).max(MAX_ID_LENGTH).describe('Unique per failed operation, for example a ULID.'),
    link: z.string().min(1).max(MAX_LINK_LENGTH).describe('Name of the link in keymend.yaml.'),
    key: z.string().describe(`The Redis key, at most ${MAX_KEY_BYTES} bytes. The record key is the same, raw.`),
    encoding: z.enum(['utf8', 'base64']).optional().describe(ENCODING),
    command: z.string().optional().describe('The Redis command, upper case. Absent: the whole key is reconciled.'),
    members: z
      .array(z.string())
      .optional()
      .describe(
        'Fields or members that the command touched, at most 1,000 (more: the whole key is reconciled). Never values.',
      ),
    outcome: z
      .enum(['refused', 'unknown'])
      .optional()
      .describe('unknown (default): the target may have applied the write, for example after a timeout.'),
    failedAt: z.iso
      .datetime({ offset: true, error: 'is not an ISO 8601 time with its zone, such as 2026-11-20T23:00:00.000Z' })
      .describe('When the write failed: ISO 8601 with its zone, for example 2026-11-20T23:00:00.000Z.'),
    error: z
      .object({ code: z.string().optional(), message: z.string().optional() })
      .optional()
      .describe('What the target answered. Never values.'),
    origin: z.string().optional().describe('The application that wrote.'),
  })
  .describe('A write that the source Redis accepted and that the target refused, or whose outcome there is unknown.');

type Wire = z.output<typeof schema>;

/**
 * The fields of the record: those of a failed write but what intakes add, which no producer writes.
 */
type Field = Exclude<keyof FailedWrite, 'idempotent' | 'record' | 'redrive'>;
const FIELDS = Object.keys(schema.shape) as Field[];
// A field that the schema or the type alone has does not compile.
void (true satisfies Same<keyof Wire, Field>);

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

/**
 * Reads a failed-write record. Never throws. Fields that version 1 does not know are dropped, so
 * nothing unexpected travels on into Temporal; `failedAt` is brought to UTC and `command` to upper
 * case.
 * @param value the Kafka value as it came
 */
export function decodeFailedWrite(value: Buffer | null): DecodedRecord {
  if (value === null) return problem('invalid-record', 'the record has no value');
  if (value.length > MAX_RECORD_BYTES) {
    return problem('too-large', `the value has ${value.length} bytes; at most ${MAX_RECORD_BYTES} are read`);
  }
  if (!isUtf8(value)) return problem('invalid-json', 'the value is not valid UTF-8');
  let json: unknown;
  try {
    // A byte order mark is no part of the text.
    json = JSON.parse(value.toString('utf8').replace(/^\ufeff/, ''));
  } catch {
    // The parser's message quotes the text, which may hold a user's data.
    return problem('invalid-json', 'the value is not valid JSON');
  }
  if (typeof json !== 'object' || json === null || Array.isArray(json)) {
    return problem('invalid-record', 'the value is not a JSON object');
  }
  const { specVersion } = json as { specVersion?: unknown };
  if (typeof specVersion === 'number' && Number.isInteger(specVersion) && specVersion > 1) {
    return problem(
      'unsupported-spec-version',
      `specVersion ${specVersion} is newer than this keymend understands; upgrade the bridge, then redrive`,
    );
  }
  const parsed = schema.safeParse(withoutNulls(json));
  if (!parsed.success) return problem('invalid-record', parsed.error.issues.map(describeIssue).join('; '));
  return fromWire(parsed.data);
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

/** The record as JSON Schema (draft 2020-12), for producers in other languages. */
export function failedWriteJsonSchema(): Record<string, unknown> {
  const { $schema, ...rest } = z.toJSONSchema(schema, { target: 'draft-2020-12', io: 'input' });
  return { $schema, title: 'keymend failed-write record, version 1', ...rest };
}

function fromWire(wire: Wire): DecodedRecord {
  const { id, link, key, members, encoding } = wire;
  for (const [name, text] of Object.entries({ id, link, key })) {
    if (!isText(text)) return problem('invalid-record', `${name}: half of a surrogate pair is not text`);
  }
  if (encoding === 'base64') {
    if (!isBase64(key)) return problem('invalid-record', 'key: is not base64, as encoding says');
    if (members && !members.every(isBase64))
      return problem('invalid-record', 'members: not all are base64, as encoding says');
  } else if (members && !members.every(isText)) {
    return problem('invalid-record', 'members: half of a surrogate pair is not text');
  }
  const raw = keyBytes({ key, encoding: encoding ?? 'utf8' });
  if (raw.length > MAX_KEY_BYTES) {
    return problem('too-large', `the key has ${raw.length} bytes; at most ${MAX_KEY_BYTES} are supported`);
  }
  return { ok: true, key: raw, event: bounded(wire) };
}

/** Cuts hints to their limits and brings them to one form. Absent stays absent. */
function bounded({ command, members, error, origin, ...wire }: Wire): FailedWrite {
  const event: { -readonly [Name in keyof FailedWrite]: FailedWrite[Name] } = {
    ...wire,
    failedAt: new Date(wire.failedAt).toISOString(),
  };
  // A name this long is no command of Redis; without one the whole key is reconciled.
  if (command !== undefined && command.length <= 64 && isText(command)) event.command = command.toUpperCase();
  if (members !== undefined && fits(members)) event.members = members;
  if (error !== undefined) {
    event.error = { code: cut(error.code, MAX_LABEL_LENGTH), message: cut(error.message, MAX_ERROR_MESSAGE_LENGTH) };
  }
  if (origin !== undefined) event.origin = cut(origin, MAX_LABEL_LENGTH);
  return event;
}

function fits(members: readonly string[]): boolean {
  return members.length <= MAX_MEMBERS && Buffer.byteLength(JSON.stringify(members)) <= MAX_MEMBERS_BYTES;
}

function cut(text: string | undefined, length: number): string | undefined {
  return text?.slice(0, length).replace(/\p{Surrogate}/gu, '\ufffd');
}

/** Half of a surrogate pair can be written in JSON, but it has no bytes in UTF-8. */
function isText(text: string): boolean {
  return !/\p{Surrogate}/u.test(text);
}

function isBase64(text: string): boolean {
  return text.length % 4 === 0 && /^[A-Za-z0-9+/]*={0,2}$/.test(text);
}

/** Many serialisers write `null` for what is absent. */
function withoutNulls(json: object): object {
  return Object.fromEntries(
    Object.entries(json)
      .filter(([, value]) => value !== null)
      .map(([name, value]) => [
        name,
        name === 'error' && typeof value === 'object' && !Array.isArray(value) ? withoutNulls(value) : value,
      ]),
  );
}

/**
 * Only names of the format and expectations; zod repeats nothing of the input for the kinds of
 * issue this schema can have.
 */
function describeIssue(issue: z.core.$ZodIssue): string {
  return `${issue.path.join('.')}: ${issue.message}`;
}

function problem(reason: DecodeProblem['reason'], message: string): DecodedRecord {
  return { ok: false, problem: { reason, message } };
}
