/**
 * What becomes of a write once it is known whether the target has it: a record where it lacks one,
 * and no intent any more.
 */
import type { FailedWrite } from '../../../workflows/failed-write.js';
import { isIdempotent } from '../../commands/command.js';
import { UnrecordedWriteError } from '../options.js';
import type { Intents } from '../source/intents.js';
import type { Write } from '../source/write.js';
import { REPLY_DIFFERS } from '../target/mirror-answers.js';
import type { MirrorFailure } from '../target/mirror-failure.js';
import { Doubts } from './doubts.js';
import { type Publisher, RecordsLostError } from './publisher.js';
import { RecentFailures } from './recent-failures.js';
import { type RecordContext, toRecord, toRecords } from './to-records.js';

/**
 * What the application's call waits for, with `onUnrecorded: 'reject'`: that the records are safe.
 * It rejects with what the call shall reject with. Undefined: no call waits, and `onError` alone
 * hears of records that are lost.
 */
export type CallWaitsFor = Promise<void> | undefined;

interface RecorderOptions {
  readonly publisher: Pick<Publisher, 'add' | 'addAndWait' | 'awaits' | 'size'>;
  /** In transactional mode. */
  readonly intents: Pick<Intents, 'conclude' | 'take' | 'remove'> | undefined;
  readonly context: RecordContext;
  readonly onUnrecorded: 'report' | 'reject';
}

/** The numbers are those of units in the order of the source's replies. */
export class Recorder {
  readonly #publisher: RecorderOptions['publisher'];
  readonly #intents: RecorderOptions['intents'];
  readonly #context: RecordContext;
  readonly #onUnrecorded: 'report' | 'reject';
  readonly #recentFailures = new RecentFailures();
  readonly #doubts = new Doubts(
    (key, writes, failure) => void this.#handOver([toRecord(key, writes, failure, this.#context)], writes),
  );

  constructor({ publisher, intents, context, onUnrecorded }: RecorderOptions) {
    this.#publisher = publisher;
    this.#intents = intents;
    this.#context = context;
    this.#onUnrecorded = onUnrecorded;
  }

  /** How many writes wait for a record that stands for several. */
  get heldBack(): number {
    return this.#doubts.size;
  }

  /** Holds back no record. */
  flush(): void {
    this.#doubts.flush();
  }

  /** The target lacks writes, or may: hands over a record for each of their keys. */
  failed(writes: readonly Write[], failure: MirrorFailure, number: number): CallWaitsFor {
    this.#remember(writes, number);
    if (failure === REPLY_DIFFERS) return this.#doubt(writes, failure);
    return this.#handOver(toRecords(writes, failure, this.#context), writes);
  }

  /**
   * The same for writes that the source may carry out even later. No call waits, and their intents
   * stay.
   */
  unknown(writes: readonly Write[], failure: MirrorFailure, number: number): FailedWrite[] {
    this.#remember(writes, number);
    const records = toRecords(writes, failure, this.#context);
    this.#publisher.add(records);
    return records;
  }

  /**
   * The target has writes, but keys of them are in doubt: they may have crossed with another
   * writer's, or end otherwise. None of these counts as one that misses a write: whatever lands on
   * top of the repair meets its mark.
   */
  inDoubt(writes: readonly Write[], failure: MirrorFailure, number: number): CallWaitsFor {
    if (isOfOneKey(writes) || !this.mayConcern(number)) return this.#doubt(writes, failure);
    // Its other keys may be in doubt for another reason.
    const { keys: _some, ...ofAll } = failure;
    return this.#doubt(writes, ofAll);
  }

  /** Whether `mirrored` may have something to do. Mostly not. */
  mayConcern(number: number): boolean {
    return this.#intents !== undefined || this.#recentFailures.mayConcern(number) || this.#publisher.size > 0;
  }

  /**
   * The target has writes. Those of a key that misses another one are mirrored nevertheless: the
   * repair copies the source's state, whatever landed meanwhile. But two kinds of them are in
   * doubt:
   * - What was on its way before the one that failed can land on top of the repair and take it
   *   back.
   * - What came behind it, and is not idempotent, can be done once more than the repair has brought
   *   already.
   *
   * Such a write gets a record of its own, which makes keymend compare again later. These records
   * are not remembered as failures, or they would have no end.
   */
  mirrored(writes: readonly Write[], number: number): CallWaitsFor {
    const doubtful: Write[] = [];
    const certain: Write[] = [];
    for (const write of writes) (this.#isDoubtful(write, number) ? doubtful : certain).push(write);
    this.#intents?.conclude(certain);
    return doubtful.length > 0 ? this.#doubt(doubtful, AFTER_FAILURE) : undefined;
  }

  #isDoubtful({ command, keys }: Write, number: number): boolean {
    if (this.#recentFailures.hasAnyNewer(keys, number)) return true;
    if (isIdempotent(command)) return false;
    return this.#recentFailures.hasAny(keys) || keys.some((key) => this.#publisher.awaits(key));
  }

  #remember(writes: readonly Write[], number: number): void {
    for (const { keys } of writes) this.#recentFailures.add(keys, number);
  }

  /** The target has them, so one record in a while is enough for a key. */
  #doubt(writes: readonly Write[], failure: MirrorFailure): CallWaitsFor {
    // A call that waits for its record is not made to wait for those of others, and an intent must
    // not go before all keys of its write are safe.
    if (this.#onUnrecorded === 'reject' || (this.#intents && !isOfOneKey(writes))) {
      return this.#handOver(toRecords(writes, failure, this.#context), writes);
    }
    this.#doubts.add(writes, failure);
    return undefined;
  }

  /**
   * Gives the records to the sinks. Once they are safe, nobody needs the intents of `writes`. Until
   * then only the IDs of these are kept, however long a sink takes: the writes have all values.
   */
  #handOver(records: readonly FailedWrite[], writes: readonly Write[]): CallWaitsFor {
    const intents = this.#intents?.take(writes);
    if (this.#onUnrecorded === 'reject') {
      const safe = this.#publisher.addAndWait(records);
      return safe.then(() => intents && this.#intents!.remove(intents)).catch(rejectUnrecorded);
    }
    // Records that are lost are told to `onError`; their intents stay in the outbox.
    this.#publisher.add(records, intents);
    return undefined;
  }
}

function isOfOneKey(writes: readonly Write[]): boolean {
  return writes.length === 1 && writes[0]!.keys.length === 1;
}

const AFTER_FAILURE: MirrorFailure = {
  outcome: 'unknown',
  error: { code: 'AFTER_FAILURE', message: 'the target has it, but lately missed another write of the key' },
};

function rejectUnrecorded(error: unknown): never {
  throw error instanceof RecordsLostError ? new UnrecordedWriteError(error) : error;
}
