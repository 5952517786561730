/**
 * The dead-letter record: what keymend could not finish, for a person or a redrive. It is the
 * original record, byte for byte, with headers that say what happened.
 */
import type { EscalateRequest } from '../../workflows/activities.js';
import type { DeadLetterReason } from '../../workflows/dead-letter-reasons.js';
import { isPermanent } from '../../workflows/error-types.js';
import type { FailedWrite, RecordPosition, Stage } from '../../workflows/messages.js';
import { encodeFailedWrite, keyBytes } from './failed-write-codec.js';
import type { HeaderValue, IntakeRecord } from './intake.js';

/**
 * A record for the dead letters, wherever these are kept: a Kafka message, or an entry of a stream.
 */
export interface DeadLetter {
  readonly key: Buffer | null;
  readonly value: Buffer | null;
  /** Of the original, in ms since the epoch, decimal. Absent: it had none. */
  readonly timestamp?: string;
  readonly headers: LetterHeaders;
  /** Of a topic, for one that has to be in a certain one. Default: that of its key. */
  readonly partition?: number;
}

type LetterHeaders = Readonly<Record<string, Buffer | string | (Buffer | string)[]>>;

/** Why a record becomes a dead letter. Texts are for people: no values of a user's data. */
export interface DeadLetterCause {
  readonly reason: DeadLetterReason;
  readonly stage: Stage | null;
  readonly error: { readonly type: string; readonly code?: string | undefined; readonly message: string };
  readonly attempts: number;
  /** What the record says, as far as it could be read. */
  readonly event?: FailedWrite | undefined;
  readonly workflowId?: string | undefined;
}

/**
 * The header that names a letter: one that is published again, because it is not known whether it
 * arrived, has the same.
 */
export const LETTER_ID = 'dlq.letter.id';

/** Longer than any workflow ID. */
const MAX_TEXT_LENGTH = 1024;
/**
 * What a redrive counts stays with the record; every other `dlq.*` header speaks of an earlier
 * failure.
 */
const KEPT = new Set(['dlq.redrive.count', 'dlq.redrive.last_at']);

/** The dead-letter record of a record that did not become a signal. */
export function deadLetterOf(record: IntakeRecord, cause: DeadLetterCause): DeadLetter {
  const { reason, stage, error, attempts, event, workflowId } = cause;
  const { key, value, headers, position } = record;
  // When the record does not say when its write failed, the time it was written to Kafka is the
  // closest to it.
  const failedAt = event?.failedAt ?? isoTime(position.timestamp);
  return {
    key,
    value,
    ...timestampOf(position),
    headers: {
      ...originalHeaders(headers),
      ...dlqHeaders({
        reason,
        stage,
        'original.topic': position.topic,
        'original.partition': position.partition,
        'original.offset': position.offset,
        'original.timestamp': position.timestamp,
        'error.type': error.type,
        'error.code': error.code,
        'error.message': error.message,
        'failed.first_at': failedAt,
        'failed.last_at': failedAt,
        attempts,
        'event.id': event?.id,
        'workflow.id': workflowId,
        link: event?.link,
        command: event?.command,
      }),
    },
  };
}

/** What says which record it was, and why it became a letter. */
const POSITION = [
  'reason',
  'letter.id',
  'original.topic',
  'original.partition',
  'original.offset',
  'original.timestamp',
];

/**
 * The same letter without what may be too much of it: first with its key, then with its position
 * alone, which is its key as well, for a compacted topic takes none without. There a value that is
 * null would be a removal, so it is empty.
 */
export function lessOf({ key, timestamp, headers }: DeadLetter): readonly DeadLetter[] {
  const position: LetterHeaders = Object.fromEntries(
    Object.entries(headers).filter(([name]) => POSITION.includes(name.slice('dlq.'.length))),
  );
  const less = { value: Buffer.alloc(0), headers: position, ...(timestamp !== undefined && { timestamp }) };
  const place = ['topic', 'partition', 'offset'].map((name) => String(headers[`dlq.original.${name}`]));
  return [
    { ...less, key },
    { ...less, key: Buffer.from(place.join('/')) },
  ];
}

/** The dead-letter record of a key that a workflow gave up on for now, or could not be given. */
export function escalationLetter(
  request: EscalateRequest,
  workflow: { readonly workflowId: string; readonly runId: string },
  reason = escalationReason(request.error.type),
): DeadLetter {
  const { event, error, attempts, firstFailedAt, lastFailedAt, letter } = request;
  const { record, key, encoding = 'utf8', traceparent } = event;
  const headers = dlqHeaders({
    reason,
    stage: error.stage,
    'original.topic': record?.topic,
    'original.partition': record?.partition,
    'original.offset': record?.offset,
    'original.timestamp': record?.timestamp,
    'error.type': error.type,
    'error.code': undefined,
    'error.message': error.message,
    'failed.first_at': firstFailedAt,
    'failed.last_at': lastFailedAt,
    attempts,
    'letter.id': letter?.id,
    'event.id': event.id,
    'workflow.id': workflow.workflowId,
    'workflow.run_id': workflow.runId,
    link: event.link,
    command: event.command,
    'redrive.count': event.redrive,
  });
  return {
    key: keyBytes({ key, encoding }),
    value: encodeFailedWrite(event),
    ...(record && timestampOf(record)),
    // So that a redrive goes on in the same trace.
    headers: traceparent === undefined ? headers : { ...headers, traceparent },
  };
}

/** With the name of the old letter it would be taken for that. */
const OF_THE_OLD_LETTER: ReadonlySet<string> = new Set(['dlq.error.code', 'dlq.resolves', LETTER_ID]);

/** Who redrives, and what has become of it. */
interface PutBack {
  readonly redriveId: string;
  /** ISO 8601, UTC. */
  readonly at: string;
  /** How often the key was redriven by now. */
  readonly count: number;
  readonly error: { readonly type: string; readonly message: string; readonly stage: Stage | null };
  readonly attempts: number;
}

/**
 * A letter that was redriven in vain: what it was, with what has become of it last.
 * @param event in the place of its value, where it stands for several letters of the key
 */
export function putBackLetter(record: IntakeRecord, event: FailedWrite | null, put: PutBack): DeadLetter {
  const { redriveId, at, count, error, attempts } = put;
  const kept = Object.entries(record.headers).filter(([name]) => !OF_THE_OLD_LETTER.has(name));
  return {
    key: record.key,
    value: event === null ? record.value : encodeFailedWrite(event),
    ...timestampOf(record.position),
    headers: {
      ...Object.fromEntries(kept.map(([name, value]) => [name, presentAll(value)])),
      ...dlqHeaders({
        reason: escalationReason(error.type),
        stage: error.stage,
        'error.type': error.type,
        'error.message': error.message,
        attempts,
        'redrive.count': count,
        'redrive.last_at': at,
        'redrive.id': redriveId,
      }),
    },
  };
}

/** The reason of the letter of a key that was given up on, by the type of its last error. */
export function escalationReason(type: string): DeadLetterReason {
  if (type === 'Cancelled') return 'cancelled';
  if (type === 'ReservedKey') return 'reserved-key';
  if (type === 'WorkflowIdTaken') return 'workflow-id-taken';
  if (type === 'TemporalRejected') return 'temporal-rejected';
  return isPermanent(type) ? 'permanent-error' : 'attempts-exhausted';
}

interface DlqFields {
  readonly reason: DeadLetterReason;
  readonly [name: string]: string | number | null | undefined;
}

/** What is not known has no header. */
function dlqHeaders(fields: DlqFields): LetterHeaders {
  return Object.fromEntries(
    Object.entries(fields)
      .filter(([, value]) => value !== undefined && value !== null && value !== '')
      .map(([name, value]) => [`dlq.${name}`, oneLine(String(value))]),
  );
}

function originalHeaders(headers: IntakeRecord['headers']): LetterHeaders {
  return Object.fromEntries(
    Object.entries(headers)
      .filter(([name]) => !name.startsWith('dlq.') || KEPT.has(name))
      .map(([name, value]) => [name, presentAll(value)]),
  );
}

function presentAll(value: IntakeRecord['headers'][string]): Buffer | string | (Buffer | string)[] {
  return Array.isArray(value) ? value.map(present) : present(value as HeaderValue);
}

/**
 * kafkajs 2.2.4 can read a header without a value but fails on writing one; empty is the closest it
 * can write.
 */
function present(value: HeaderValue): Buffer | string {
  return value ?? Buffer.alloc(0);
}

function timestampOf({ timestamp }: RecordPosition): { timestamp?: string } {
  return Number(timestamp) >= 0 ? { timestamp } : {};
}

function isoTime(timestamp: string): string | undefined {
  const time = new Date(Number(timestamp));
  return Number(timestamp) >= 0 && !Number.isNaN(time.getTime()) ? time.toISOString() : undefined;
}

function oneLine(text: string): string {
  // Cut first: the pattern goes through a run of blanks once for each of them.
  return text
    .slice(0, 2 * MAX_TEXT_LENGTH)
    .replace(/\s*[\r\n]+\s*/g, ' ')
    .slice(0, MAX_TEXT_LENGTH)
    .toWellFormed();
}
