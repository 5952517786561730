/**
 * The schema of the failed-write record, version 1: what is published for producers in other
 * languages, and what says what is wrong with a record. `failed-write.ts` reads records by hand,
 * which costs a tenth; a test holds that both take the same.
 */
import { z } from 'zod';
import type { FailedWrite } from '../../workflows/failed-write.js';
import { MAX_LINK_LENGTH } from '../defaults.js';
import type { Same } from './same.js';

/**
 * Longest Redis key, raw bytes. The key travels in the workflow's input and in each of its failed
 * writes, escaped as JSON (up to six bytes for one); this keeps both far below the 2 MiB that
 * Temporal allows for a payload.
 */
export const MAX_KEY_BYTES = 64 * 1024;
/** In UTF-16 units, as JavaScript counts. */
export const MAX_ID_LENGTH = 256;
/** ISO 8601 with its zone. */
export const TIME = z.regexes.datetime({ offset: true });

const ENCODING = 'base64: `key` and `members` are base64 of raw bytes. Default utf8: they are text.';

/** Anything else is no fault of the record: it says less, so more of the key is looked at. */
function hint<Type extends z.ZodType>(type: Type) {
  return z.union([type, z.unknown()]).optional();
}

/** Takes what a record may say. `members` is not gone through before `failed-write.ts` has. */
export const schema = z
  .object({
    specVersion: z.literal(1).describe('Version of this record format.'),
    id: z.string().min(1).max(MAX_ID_LENGTH).describe('Unique per failed operation, for example a ULID.'),
    link: z.string().min(1).max(MAX_LINK_LENGTH).describe('Name of the link in keymend.yaml.'),
    key: z.string().describe(`The Redis key, at most ${MAX_KEY_BYTES} bytes. The record key is the same, raw.`),
    encoding: z.enum(['utf8', 'base64']).optional().describe(ENCODING),
    command: hint(z.string().regex(/^[A-Za-z0-9._-]{1,64}$/)).describe(
      'A hint: the Redis command, upper case. Absent, or no such text: the whole key is reconciled.',
    ),
    members: hint(z.array(z.string())).describe(
      'A hint: fields or members that the command touched, at most 1,000 texts. Absent, or anything else: the whole key is ' +
        'reconciled. Never values.',
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

/**
 * The fields of the record: those of a failed write but what intakes add, which no producer writes.
 */
export type Field = Exclude<
  keyof FailedWrite,
  'idempotent' | 'receivedAt' | 'receivedAgoMs' | 'record' | 'redrive' | 'merged' | 'traceparent'
>;
export const FIELDS = Object.keys(schema.shape) as Field[];
// A field that the schema or the type alone has does not compile.
void (true satisfies Same<keyof z.output<typeof schema>, Field>);

/**
 * What is wrong with a record, the first thing alone: one line, nothing but names of the format and
 * expectations. zod repeats nothing of the input for the kinds of issue this schema can have.
 * @param record without its hints: however long they are, nothing in them is wrong
 * @returns null when nothing is
 */
export function firstProblem(record: Readonly<Partial<Record<Field, unknown>>>): string | null {
  const issue = schema.safeParse(record).error?.issues[0];
  return issue === undefined ? null : `${issue.path.join('.')}: ${issue.message}`;
}

/** The record as JSON Schema (draft 2020-12), for producers in other languages. */
export function failedWriteJsonSchema(): Record<string, unknown> {
  const { $schema, ...rest } = z.toJSONSchema(schema, { target: 'draft-2020-12', io: 'input' });
  return { $schema, title: 'keymend failed-write record, version 1', ...rest };
}
