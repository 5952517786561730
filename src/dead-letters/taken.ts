/** What one step of a redrive takes of the letters that it goes through, up to its limits. */
import { MOST_REDRIVES, type TryLettersRequest } from '../../workflows/redrive-messages.js';
import type { Links } from '../bridge/group.js';
import { LettersByKey, type UsableLetter } from './by-key.js';
import type { Letter } from './letter.js';

/** Letters that are gone through in one step though nothing can be done with them. */
export const MOST_LEFT = 10_000;
/** What is told of the letters of a step, about: with the errors it is far below 512 KiB. */
const MOST_TOLD_BYTES = 256 * 1024;
/** In that, of a letter beside its name, and of a key beside its error. */
const [BYTES_OF_A_LETTER, BYTES_OF_A_KEY] = [8, 150];
/** Records of a step, which are in memory together. */
const MOST_HELD_BYTES = 32 * 1024 * 1024;

/** @returns the server that the key waits for; null: it can be tried, as far as is known */
export type WaitsFor = (letter: UsableLetter) => Promise<string | null>;

export class Taken {
  readonly keys: LettersByKey;
  /** To be discarded. */
  readonly discarded: Letter[] = [];
  /** Letters that are left as they are. */
  unusable = 0;
  exhausted = 0;
  /** By the server that does not answer. */
  readonly waiting = new Map<string, number>();
  #left = 0;
  #letters = 0;
  #toldBytes = 0;
  #heldBytes = 0;

  readonly #most: Pick<TryLettersRequest, 'mostKeys' | 'mostLetters'>;
  readonly #waitsFor: WaitsFor;

  constructor(links: Links, most: Pick<TryLettersRequest, 'mostKeys' | 'mostLetters'>, waitsFor: WaitsFor) {
    this.keys = new LettersByKey(links);
    this.#most = most;
    this.#waitsFor = waitsFor;
  }

  /** Nothing more is to be read. */
  get isFull(): boolean {
    return this.#letters >= this.#most.mostLetters || this.#left >= MOST_LEFT;
  }

  /** @returns false: there is no room for it */
  discard(letter: Letter): boolean {
    if (!this.#hasRoom(letter, false)) return false;
    this.discarded.push(letter);
    return true;
  }

  /** @returns false: there is no room for it, or for a further key */
  async try(letter: Letter): Promise<boolean> {
    const found = letter.redriven >= MOST_REDRIVES ? 'exhausted' : (this.keys.read(letter) ?? 'unusable');
    if (typeof found === 'string') {
      this[found] += 1;
      this.#left += 1;
      return true;
    }
    const isNew = !this.keys.has(found);
    const shard = isNew ? await this.#waitsFor(found) : null;
    if (shard !== null) {
      this.waiting.set(shard, (this.waiting.get(shard) ?? 0) + 1);
      this.#left += 1;
      return true;
    }
    if (isNew && this.keys.size >= this.#most.mostKeys) return false;
    if (!this.#hasRoom(letter, isNew)) return false;
    this.keys.add(found);
    return true;
  }

  /** However long its name and its record are, one letter has room. */
  #hasRoom({ place, record }: Letter, isNewKey: boolean): boolean {
    const told = place.part.length + place.offset.length + BYTES_OF_A_LETTER + (isNewKey ? BYTES_OF_A_KEY : 0);
    const held = (record.key?.length ?? 0) + (record.value?.length ?? 0);
    const isTooMuch = this.#toldBytes + told > MOST_TOLD_BYTES || this.#heldBytes + held > MOST_HELD_BYTES;
    if (this.#letters > 0 && isTooMuch) return false;
    this.#letters += 1;
    this.#toldBytes += told;
    this.#heldBytes += held;
    return true;
  }
}
