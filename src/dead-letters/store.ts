/** What is asked of whatever keeps dead letters. */
import type { Offsets } from '../../workflows/redrive-messages.js';
import type { DeadLetter } from '../events/dead-letter.js';
import type { Letter } from './letter.js';

/** A part of the store, between two offsets. */
interface LetterRange {
  /** Behind these; a part that is missing: from its beginning. */
  readonly passed?: Offsets;
  /** Up to these, included; a part that is missing had none. Default: what is there now. */
  readonly ends?: Offsets;
  /** How many will be read, about: so that few do not cost a whole page. */
  readonly about?: number;
}

/** Letters of one part that are dealt with at the same moment. */
export interface Closing {
  readonly part: string;
  readonly offsets: readonly string[];
  /** A letter that takes their place; null: none does. */
  readonly putBack: DeadLetter | null;
  /** Headers that say who did it and why, where the store keeps such a thing. */
  readonly note: Readonly<Record<string, string>>;
}

export interface LetterStore {
  /** For a person. */
  readonly name: string;
  /**
   * Which of its kind it is, for one that is made anew under its name has the same offsets for
   * other letters. null: no offset ever comes again, or it can't tell. @throws Error in one line
   */
  id(): Promise<string | null>;
  /** The last offset of each part that has any. @throws Error in one line */
  ends(): Promise<Offsets>;
  /**
   * Open letters, the oldest first as far as parts allow: of each part in its order, and between
   * parts by their time. A page of each part is in memory. @throws Error in one line
   */
  letters(range: LetterRange): AsyncGenerator<Letter>;
  /**
   * Closes what is open of the given letters; where none is, nothing is put back either. So twice
   * does no harm, nor do two at once. @throws Error in one line
   */
  close(closings: readonly Closing[]): Promise<void>;
  disconnect(): Promise<void>;
}

/** Goes through several at once, always with the one whose next letter is the oldest. */
export async function* oldestFirst(parts: readonly AsyncGenerator<Letter>[]): AsyncGenerator<Letter> {
  const heads: { letter: Letter; rest: AsyncGenerator<Letter> }[] = [];
  const add = async (rest: AsyncGenerator<Letter>) => {
    const { value, done } = await rest.next();
    if (!done) heads.push({ letter: value, rest });
  };
  try {
    await Promise.all(parts.map(add));
    while (heads.length > 0) {
      const oldest = heads.reduce((one, other) => (other.letter.at < one.letter.at ? other : one));
      heads.splice(heads.indexOf(oldest), 1);
      yield oldest.letter;
      await add(oldest.rest);
    }
  } finally {
    // Whoever breaks off must not leave pages behind.
    await Promise.all(parts.map((part) => part.return(undefined)));
  }
}
