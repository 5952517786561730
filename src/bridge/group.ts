/**
 * Decodes a batch and puts the failed writes of one key together, so that each key costs one
 * signal.
 */
import type { FailedWrite } from '../../workflows/messages.js';
import { mayBeInFlight } from '../../workflows/settle.js';
import { isIdempotent } from '../commands/command.js';
import type { LinkConfig } from '../config.js';
import type { DeadLetterCause } from '../events/dead-letter.js';
import { decodeFailedWrite } from '../events/failed-write-codec.js';
import type { IntakeRecord } from '../events/intake.js';
import { isOwnKey, OWN_KEY_REFUSED } from '../own-keys.js';

/** The links of the configuration by name. */
export type Links = ReadonlyMap<string, LinkConfig>;

/** A failed write together with the record that it came in. */
export interface RecordedWrite {
  readonly event: FailedWrite;
  readonly record: IntakeRecord;
}

/** The failed writes of one key, in the order of the log. */
export interface KeyGroup {
  readonly kind: 'key';
  readonly link: LinkConfig;
  /** Raw bytes. */
  readonly key: Buffer;
  readonly writes: readonly RecordedWrite[];
}

/** A record that no workflow can be told of. */
interface Undeliverable {
  readonly kind: 'undeliverable';
  readonly record: IntakeRecord;
  readonly failure: DeadLetterCause;
}

/** Of records that stand behind each other in the log. */
export interface Part {
  readonly records: readonly IntakeRecord[];
  /** Groups and undeliverable records, ordered by their first record. */
  readonly items: readonly (KeyGroup | Undeliverable)[];
}

/** How much a part may have; a single record may have more. */
interface PartLimits {
  readonly keys: number;
  /** Of the records' values together. */
  readonly bytes: number;
}

const NO_LIMITS: PartLimits = { keys: Number.POSITIVE_INFINITY, bytes: Number.POSITIVE_INFINITY };

/**
 * The records in parts, each with its failed writes grouped by key. Nothing of a part is decoded
 * before it is asked for.
 */
export function* partsOf(records: readonly IntakeRecord[], links: Links, limits = NO_LIMITS): Generator<Part> {
  for (let begin = 0; begin < records.length; ) {
    const part = onePart(records, begin, links, limits);
    begin += part.records.length;
    yield part;
  }
}

function onePart(all: readonly IntakeRecord[], begin: number, links: Links, { keys, bytes }: PartLimits): Part {
  const items: (KeyGroup | Undeliverable)[] = [];
  const writesOf = new Map<string, RecordedWrite[]>();
  let size = 0;
  let end = begin;
  for (; end < all.length; end++) {
    const record = all[end]!;
    size += record.value?.length ?? 0;
    if (end > begin && (size > bytes || writesOf.size >= keys)) break;
    const read = readRecord(record, links);
    if (read.kind === 'undeliverable') {
      items.push(read);
      continue;
    }
    // Link names have no spaces, and base64 of the raw bytes is the same however the record wrote
    // the key.
    const group = `${read.link.name} ${read.key.toString('base64')}`;
    const writes = writesOf.get(group);
    if (writes) {
      writes.push(read.write);
    } else {
      const first = [read.write];
      writesOf.set(group, first);
      items.push({ kind: 'key', link: read.link, key: read.key, writes: first });
    }
  }
  return { records: all.slice(begin, end), items };
}

type Readable = { kind: 'write'; link: LinkConfig; key: Buffer; write: RecordedWrite };

function readRecord(record: IntakeRecord, links: Links): Readable | Undeliverable {
  const undeliverable = (
    reason: DeadLetterCause['reason'],
    type: string,
    message: string,
    event?: FailedWrite,
  ): Undeliverable => ({
    kind: 'undeliverable',
    record,
    failure: { reason, stage: 'decode', error: { type, message }, attempts: 1, event },
  });
  if (record.unreadable) return undeliverable('unreadable-batch', 'UnreadableBatch', describeUnreadable(record));
  try {
    const decoded = decodeFailedWrite(record.value);
    if (!decoded.ok) return undeliverable(decoded.problem.reason, 'DecodeError', decoded.problem.message);
    const { event, key } = decoded;
    if (isOwnKey(key)) return undeliverable('reserved-key', 'ReservedKey', OWN_KEY_REFUSED, event);
    const link = links.get(event.link);
    if (link === undefined) {
      const message = `link ${JSON.stringify(event.link)} is not in the configuration of this bridge; add it, restart, then redrive`;
      return undeliverable('unknown-link', 'UnknownLink', message, event);
    }
    const idempotent = event.command === undefined ? undefined : isIdempotent(event.command);
    // Also behind a delete that was refused a reader may still put an old row into the cache.
    const outcome = 'mysql' in link.source ? 'unknown' : event.outcome;
    const added = { ...event, outcome, idempotent, record: record.position, ...redriveOf(record) };
    const received = mayBeInFlight(added) ? { receivedAt: new Date().toISOString() } : {};
    return { kind: 'write', link, key, write: { record, event: { ...added, ...received } } };
  } catch (error) {
    // A bug of ours on one record must not hold up the records behind it.
    const { name, message } = error instanceof Error ? error : new Error(String(error));
    return undeliverable('internal-error', name, message);
  }
}

function describeUnreadable({ position: { topic, partition, offset }, unreadable }: IntakeRecord): string {
  const { lastOffset, reason } = unreadable!;
  const which = offset === lastOffset ? `offset ${offset}` : `offsets ${offset} to ${lastOffset}`;
  return `${which} of ${topic}[${partition}] can't be read: ${reason}; only a comparison of both sides finds what was in there`;
}

/** Of a record that was redriven, how often; whatever the header says, it is new work. */
function redriveOf({ headers }: IntakeRecord): Pick<FailedWrite, 'redrive'> {
  const header = headers['dlq.redrive.count'];
  if (header === undefined) return {};
  const count = Number(String(Array.isArray(header) ? header.at(-1) : header));
  return { redrive: Number.isSafeInteger(count) && count > 0 ? count : 1 };
}
