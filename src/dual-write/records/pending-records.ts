/**
 * Failed-write records that wait for a sink: one for each key, however many writes of it fail, and
 * boundedly many.
 */
import { isUtf8 } from 'node:buffer';
import type { FailedWrite } from '../../../workflows/failed-write.js';
import { isIdempotent, touches } from '../../commands/command.js';
import { encodeKey, keyBytes, MAX_MEMBERS, MAX_MEMBERS_BYTES } from '../../events/failed-write-codec.js';
import { newRecordId } from './record-id.js';

/** Told once whether the record was taken, or why not. */
export type Waiter = (lost: Error | undefined) => void;

export interface TakenRecord {
  readonly record: FailedWrite;
  readonly waiters: readonly Waiter[];
  readonly intents: readonly string[];
}

interface Along {
  readonly waiter?: Waiter | undefined;
  /**
   * The IDs of intents that nobody needs once the record is taken. No waiter for these: a key may
   * be written a million times before a sink works again.
   */
  readonly intents?: readonly string[];
}

/** Above this many bytes of members in all records together, whole keys are recorded instead. */
const MAX_ALL_MEMBERS_BYTES = 16 * 1024 * 1024;

interface Entry {
  /** The newest, but for what the fields below say. */
  record: FailedWrite;
  /** Raw bytes as latin1. Undefined: the record names none. */
  members: Set<string> | undefined;
  memberBytes: number;
  readonly waiters: Waiter[];
  readonly intents: string[];
}

export class PendingRecords {
  readonly #max: number;
  #entries = new Map<string, Entry>();
  #memberBytes = 0;

  /** @param max so many records at most */
  constructor(max: number) {
    this.#max = max;
  }

  get size(): number {
    return this.#entries.size;
  }

  has(key: Buffer): boolean {
    return this.#entries.size > 0 && this.#entries.has(key.toString('latin1'));
  }

  /** @returns false when there is no room: the record is not in here */
  add(record: FailedWrite, { waiter, intents }: Along = {}): boolean {
    const name = raw(record.key, record);
    let entry = this.#entries.get(name);
    if (entry) {
      this.#join(entry, record);
    } else {
      if (this.#entries.size >= this.#max) return false;
      entry = { record, members: record.members && new Set(), memberBytes: 0, waiters: [], intents: [] };
      this.#entries.set(name, entry);
      this.#addMembers(entry, record);
    }
    if (waiter) entry.waiters.push(waiter);
    for (const intent of intents ?? []) entry.intents.push(intent);
    return true;
  }

  /** Takes out up to `count`, the longest waiting first. */
  take(count: number): TakenRecord[] {
    if (count >= this.#entries.size) return this.#takeAll();
    const taken: TakenRecord[] = [];
    for (const [name, entry] of this.#entries) {
      if (taken.length === count) break;
      this.#entries.delete(name);
      this.#memberBytes -= entry.memberBytes;
      taken.push(takenOf(entry));
    }
    return taken;
  }

  /**
   * A new Map: one that is emptied entry by entry leaves its old tables behind, and the garbage
   * collector pauses for longer.
   */
  #takeAll(): TakenRecord[] {
    const entries = [...this.#entries.values()];
    this.#entries = new Map();
    this.#memberBytes = 0;
    return entries.map(takenOf);
  }

  #join(entry: Entry, added: FailedWrite): void {
    const { record } = entry;
    const command = jointCommand(entry, added);
    const unknown = [record, added].find(({ outcome }) => outcome !== 'refused');
    entry.record = {
      ...added,
      // It speaks of several operations, so it has none of their ids.
      id: newRecordId(),
      command,
      outcome: unknown ? 'unknown' : 'refused',
      error: (unknown ?? added).error,
      failedAt: [record.failedAt, added.failedAt].toSorted().at(-1)!,
    };
    if (command === undefined) this.#dropMembers(entry);
    else this.#addMembers(entry, added);
  }

  #addMembers(entry: Entry, added: FailedWrite): void {
    if (!entry.members) return;
    const before = entry.memberBytes;
    for (const member of added.members ?? []) {
      const name = raw(member, added);
      if (!entry.members.has(name)) entry.memberBytes += name.length;
      entry.members.add(name);
    }
    this.#memberBytes += entry.memberBytes - before;
    const tooMany = entry.members.size > MAX_MEMBERS || entry.memberBytes > MAX_MEMBERS_BYTES / 2;
    if (!tooMany && this.#memberBytes <= MAX_ALL_MEMBERS_BYTES) return;
    // Without a command the record means the whole key.
    entry.record = { ...entry.record, command: undefined };
    this.#dropMembers(entry);
  }

  #dropMembers(entry: Entry): void {
    this.#memberBytes -= entry.memberBytes;
    entry.memberBytes = 0;
    entry.members = undefined;
  }
}

/**
 * The command that stands for both: it says what they can have touched, and whether it harms to do
 * it twice. Undefined: there is none, so the whole key is meant.
 */
function jointCommand({ record, members }: Entry, added: FailedWrite): string | undefined {
  const [one, other] = [record.command, added.command];
  if (one === undefined || other === undefined) return undefined;
  const named = members !== undefined && added.members !== undefined;
  const none = members === undefined && added.members === undefined;
  if (one === other) return named || none ? one : undefined;
  const alike = named ? 'members' : none ? 'expiry' : undefined;
  if (touches(one) !== alike || touches(other) !== alike) return undefined;
  return isIdempotent(one) ? other : one;
}

function takenOf(entry: Entry): TakenRecord {
  const { waiters, intents } = entry;
  return { record: toRecord(entry), waiters, intents };
}

function toRecord({ record, members }: Entry): FailedWrite {
  if (record.members === undefined) return record;
  const { members: _, encoding: __, ...rest } = record;
  const key = keyBytes({ key: record.key, encoding: record.encoding ?? 'utf8' });
  if (members === undefined) return { ...rest, ...encodeKey(key) };
  const bytes = [...members].map((member) => Buffer.from(member, 'latin1'));
  const encoding = [key, ...bytes].every((part) => isUtf8(part)) ? 'utf8' : 'base64';
  return { ...rest, key: key.toString(encoding), encoding, members: bytes.map((member) => member.toString(encoding)) };
}

const ASCII = /^[\x00-\x7f]*$/;

/** Raw bytes as a string of one character for each, which a Map can compare. */
function raw(text: string, { encoding }: FailedWrite): string {
  if (encoding !== 'base64' && ASCII.test(text)) return text;
  return keyBytes({ key: text, encoding: encoding ?? 'utf8' }).toString('latin1');
}
