/** A dead letter as it is read back, from wherever it is kept. */

import type { HeaderValue, IntakeRecord } from '../events/intake.js';
import { prefixOf } from '../events/key-prefix.js';

/** Where a letter is: `offset` in a part of the store (a partition, or a stream). */
interface Place {
  readonly part: string;
  readonly offset: string;
}

export interface Letter {
  readonly place: Place;
  /** As it is kept. */
  readonly record: IntakeRecord;
  /** Why it is one; `unknown` for what keymend did not write. */
  readonly reason: string;
  readonly errorType: string | undefined;
  readonly errorMessage: string | undefined;
  readonly link: string | undefined;
  readonly eventId: string | undefined;
  /** What its key begins with. */
  readonly prefix: string;
  /** How often it was redriven. */
  readonly redriven: number;
  /** By which redrive it was put back; absent: by none. */
  readonly redriveId: string | undefined;
  /** When it was put there, in ms since the epoch; see `letterOf`. */
  readonly at: number;
}

/** In records that say which letters are resolved, and in letters put back, which say so too. */
export const RESOLVES = 'dlq.resolves';
export const REDRIVE_ID = 'dlq.redrive.id';

/**
 * @param writtenAt when its store took it, in ms since the epoch. null: the store does not say, for
 *   in Kafka a letter keeps the time of its record; then it is as old as the latest that it tells
 */
export function letterOf(part: string, record: IntakeRecord, writtenAt: number | null): Letter {
  const text = (name: string) => headerText(record, `dlq.${name}`);
  const times = [
    ...['redrive.last_at', 'failed.last_at'].map((name) => Date.parse(text(name) ?? '')),
    Number(record.position.timestamp),
  ];
  const now = Date.now();
  // A clock that was ahead says nothing; of what nothing is known is not old.
  const past = times.filter((time) => time >= 0 && time <= now);
  const latest = past.length > 0 ? Math.max(...past) : now;
  const count = Number(text('redrive.count'));
  return {
    place: { part, offset: record.position.offset },
    record,
    reason: text('reason') ?? 'unknown',
    errorType: text('error.type'),
    errorMessage: text('error.message'),
    link: text('link'),
    eventId: text('event.id'),
    prefix: prefixOf(record.key ?? Buffer.of()),
    redriven: Number.isSafeInteger(count) && count > 0 ? count : 0,
    redriveId: headerText(record, REDRIVE_ID),
    at: isMoment(writtenAt) ? writtenAt : latest,
  };
}

/** An entry of a stream can be given any ID. */
function isMoment(ms: number | null): ms is number {
  return ms !== null && !Number.isNaN(new Date(ms).getTime());
}

/** The last value of a header as text; undefined where there is none. */
export function headerText({ headers }: Pick<IntakeRecord, 'headers'>, name: string): string | undefined {
  const found = headers[name];
  const value: HeaderValue = Array.isArray(found) ? found.at(-1) : (found as HeaderValue);
  return value === undefined || value === null ? undefined : value.toString();
}

/** For a person and for `dlq show`: `<part>/<offset>`. */
export function nameOf({ part, offset }: Place): string {
  return `${part}/${offset}`;
}
