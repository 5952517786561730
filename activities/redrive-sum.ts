/** What one step of a redrive comes to. */
import type { Letter } from '../src/dead-letters/letter.js';
import { offsetsOf, type readStep } from '../src/dead-letters/step.js';
import { encodeKey } from '../src/events/failed-write-codec.js';
import { firstWithin, jsonBytes } from '../workflows/json-bytes.js';
import type { EncodedKey } from '../workflows/messages.js';
import type { FailedLetters, ResolvedLetters, TryLettersReply } from '../workflows/redrive-messages.js';
import type { KeyEnd } from './redrive-keys.js';

type Step = Awaited<ReturnType<typeof readStep>>;

/** Named in the reply of one step. */
const NAMED = { items: 100, bytes: 16 * 1024 };
/** The texts of all errors together, which may be one for each key. */
const MOST_ERROR_BYTES = 128 * 1024;

export class StepSum {
  readonly #ended: Record<ResolvedLetters['end'], Letter[]> = { healed: [], equal: [], discarded: [] };
  readonly #failed: FailedLetters[] = [];
  readonly #equalKeys: EncodedKey[] = [];
  #unusable = 0;
  #exhausted = 0;
  #waiting = 0;
  #waitsFor: string | null = null;
  #failedAgain = 0;
  #keys = 0;

  /** What was read of the letters, but for those that are to be tried. */
  read({ taken }: Step): void {
    this.#ended.discarded.push(...taken.discarded);
    this.#unusable += taken.unusable;
    this.#exhausted += taken.exhausted;
    for (const [shard, letters] of taken.waiting) this.#wait(shard, letters);
  }

  take(key: Buffer, letters: readonly Letter[], end: KeyEnd): void {
    if (end.kind === 'waiting') {
      this.#wait(end.shard, letters.length);
      return;
    }
    this.#keys += 1;
    if (end.kind === 'failed') {
      this.#failed.push({ offsets: offsetsOf(letters), error: end.error, attempts: end.attempts });
      this.#failedAgain += letters.length;
    } else if (end.kind === 'equal') {
      this.#ended.equal.push(...letters);
      if (this.#equalKeys.length < NAMED.items) this.#equalKeys.push(encodeKey(key));
    } else this.#ended.healed.push(...letters);
  }

  /** Something is done, or so much was left that the workflow is to hear of it. */
  isEnough(mostLeft: number): boolean {
    const left = this.#unusable + this.#exhausted + this.#waiting;
    return this.#keys > 0 || this.#ended.discarded.length > 0 || left >= mostLeft;
  }

  reply({ passed, ends, storeId, isLast }: Step): TryLettersReply {
    const { healed, equal, discarded } = this.#ended;
    const redriven = healed.length + equal.length + this.#failedAgain;
    const left = { unusable: this.#unusable, exhausted: this.#exhausted, waiting: this.#waiting };
    return {
      passed,
      ends,
      storeId,
      isLast,
      counts: {
        seen: redriven + discarded.length + left.unusable + left.exhausted + left.waiting,
        redriven,
        healed: healed.length,
        alreadyEqual: equal.length,
        failedAgain: this.#failedAgain,
        discarded: discarded.length,
        ...left,
        keys: this.#keys,
      },
      resolved: Object.entries(this.#ended)
        .filter(([, letters]) => letters.length > 0)
        .map(([end, letters]) => ({ end: end as ResolvedLetters['end'], offsets: offsetsOf(letters) })),
      failed: withinBytes(this.#failed),
      equalKeys: firstWithin(this.#equalKeys, NAMED),
      waitsFor: this.#waitsFor,
    };
  }

  #wait(shard: string, letters: number): void {
    this.#waiting += letters;
    this.#waitsFor = shard;
  }
}

/** Texts are cut where all of them together are too much. */
function withinBytes(failed: readonly FailedLetters[]): readonly FailedLetters[] {
  const bytes = failed.reduce((sum, { error }) => sum + jsonBytes(error.message), 0);
  if (bytes <= MOST_ERROR_BYTES) return failed;
  const share = MOST_ERROR_BYTES / failed.length;
  return failed.map(({ error, ...of }) => ({ ...of, error: { ...error, message: cut(error.message, share) } }));
}

function cut(text: string, bytes: number): string {
  let shorter = text;
  while (jsonBytes(shorter) > bytes) shorter = shorter.slice(0, (shorter.length * 3) >> 2);
  return shorter.toWellFormed();
}
