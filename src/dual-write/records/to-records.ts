/** Failed-write records: one for each key that a failed write names. Never a value. */
import { isUtf8 } from 'node:buffer';
import type { FailedWrite } from '../../../workflows/failed-write.js';
import { membersOf, touches } from '../../commands/command.js';
import { endsAtMs, expiryOf, readExpiryOptions } from '../../commands/expiry.js';
import { encodeKey, MAX_MEMBERS, MAX_MEMBERS_BYTES } from '../../events/failed-write-codec.js';
import type { Write } from '../source/write.js';
import type { MirrorFailure } from '../target/mirror-failure.js';
import { newRecordId } from './record-id.js';

/** What follows failed writes in traces: see `traceFailedWrites`. */
export interface WriteTracing {
  /** Told of each write when the application gives it to the source. */
  sent(write: object): void;
  /**
   * Told of each record, and which was the last of its writes.
   * @returns the place in the trace, as W3C writes it, for the record to take along
   */
  recorded(record: FailedWrite, newest: object): string | undefined;
}

/** Which link and which application the records speak of. */
export interface RecordContext {
  readonly link: string;
  readonly origin: string;
  readonly tracing?: WriteTracing | undefined;
}

/**
 * Makes the records of writes that failed together. A key that several of them name gets one
 * record, for the whole key.
 */
export function toRecords(writes: readonly Write[], failure: MirrorFailure, context: RecordContext): FailedWrite[] {
  // Nearly always.
  if (writes.length === 1 && writes[0]!.keys.length === 1) {
    return [toRecord(writes[0]!.keys[0]!, writes, failure, context)];
  }
  const keys = byKey(writes, failure.keys);
  return [...keys.values()].map(({ key, ofKey }) => toRecord(key, ofKey, failure, context));
}

/** The same of one key. @param writes each of which names it */
export function toRecord(
  key: Buffer,
  writes: readonly Write[],
  failure: MirrorFailure,
  { link, origin, tracing }: RecordContext,
): FailedWrite {
  const record: FailedWrite = {
    specVersion: 1,
    id: newRecordId(),
    link,
    ...(failure.scope === 'whole' ? encodeKey(key) : describeKey(key, writes)),
    outcome: failure.outcome,
    failedAt: isoNow(),
    error: failure.error,
    origin,
  };
  const traceparent = tracing?.recorded(record, writes.at(-1)!);
  return traceparent === undefined ? record : { ...record, traceparent };
}

/** A date costs as much to write as the rest of a record, and most share their millisecond. */
let written = { at: 0, as: '' };
function isoNow(): string {
  const at = Date.now();
  if (at !== written.at) written = { at, as: new Date(at).toISOString() };
  return written.as;
}

/** The key and, where one write tells it, which of its members; in one encoding. */
function describeKey(
  key: Buffer,
  writes: readonly Write[],
): Pick<FailedWrite, 'key' | 'encoding' | 'command' | 'members'> {
  const [write] = writes;
  if (write === undefined || writes.length > 1 || removesByExpiry(write)) return encodeKey(key);
  const members = touchedMembers(write);
  if (members === undefined) {
    const { key: name, encoding } = encodeKey(key);
    return { key: name, encoding, command: write.command };
  }
  const encoding = [key, ...members].every((part) => isUtf8(part)) ? 'utf8' : 'base64';
  return {
    key: key.toString(encoding),
    encoding,
    command: write.command,
    members: members.map((member) => member.toString(encoding)),
  };
}

/**
 * An expiry in the past removes the key, and what is there once it is made anew has no more in
 * common with it than the name.
 */
function removesByExpiry({ command, args }: Write): boolean {
  if (touches(command) !== 'expiry') return false;
  const expiry = command === 'GETEX' ? readExpiryOptions(args, 1, args.length)?.expiry : expiryOf(command, args);
  const nowMs = Date.now();
  return expiry !== undefined && endsAtMs(expiry, nowMs) <= nowMs;
}

/** Undefined: not known, or more than a record can hold; then the whole key is reconciled. */
function touchedMembers(write: Write): Buffer[] | undefined {
  const members = membersOf(write.command, write.args);
  if (members === undefined || members.length > MAX_MEMBERS) return undefined;
  const bytes = members.reduce((sum, member) => sum + member.length, 0);
  return bytes > MAX_MEMBERS_BYTES / 2 ? undefined : members;
}

/** The keys of writes, each with those that name it. @param only these keys; absent: all */
export function byKey(
  writes: readonly Write[],
  only?: readonly Buffer[],
): Map<string, { key: Buffer; ofKey: Write[] }> {
  const names = only && new Set(only.map((key) => key.toString('latin1')));
  const keys = new Map<string, { key: Buffer; ofKey: Write[] }>();
  for (const write of writes) {
    for (const key of write.keys) {
      const name = key.toString('latin1');
      if (names && !names.has(name)) continue;
      const entry = keys.get(name);
      if (entry) entry.ofKey.push(write);
      else keys.set(name, { key, ofKey: [write] });
    }
  }
  return keys;
}
