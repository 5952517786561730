/** Where dead letters go. */
import type { RecordPosition } from '../../workflows/failed-write.js';
import { type DeadLetter, lessOf } from './dead-letter.js';

export interface DeadLetters {
  /** What it is, in messages. */
  readonly kind: 'topic' | 'stream';
  /**
   * Resolves when the topic (or the stream that stands for one) has acknowledged the letter. One
   * that has a name (`LETTER_ID`) is there once, however often it is published: a stream knows it
   * by that, in a topic it is looked for when `earlier` says from where on. Any other may be there
   * twice, if an acknowledgement was lost.
   * @param earlier given where it may have been published before
   * @throws DeadLetterRefused when it does not take the letter as it is; any other error is passing
   */
  publish(letter: DeadLetter, earlier?: EarlierTry): Promise<void>;
  /**
   * Where they end now, to be given as `earlier` later. Absent: a letter is known without that.
   * @throws when that can't be found out
   */
  ends?(): Promise<LettersEnds>;
  close(): Promise<void>;
}

/** The end of each partition, in their order. */
type LettersEnds = readonly string[];

/** A letter that may be there already is behind these, if it is. */
export interface EarlierTry {
  readonly behind: LettersEnds;
}

/**
 * The topic or stream refuses this record until an operator raises a limit or makes room. The
 * message is one line saying how.
 */
export class DeadLetterRefused extends Error {
  override readonly name = 'DeadLetterRefused';
  /** `letter`: it may take a smaller one. `place`: it takes none. */
  readonly because: 'letter' | 'place';

  constructor(because: DeadLetterRefused['because'], message: string, options?: ErrorOptions) {
    super(message, options);
    this.because = because;
  }
}

/**
 * Publishes a letter, or as much of it as is taken: one letter that is refused must not hold up
 * what stands behind its record.
 * @returns why the letter is not there as a whole; null when it is
 * @throws as `DeadLetters.publish`, but never because of the letter unless not even its position is
 *   taken
 */
export async function publishWhatFits(
  deadLetters: DeadLetters,
  letter: DeadLetter,
  earlier?: EarlierTry,
): Promise<DeadLetterRefused | null> {
  let refused: DeadLetterRefused | null = null;
  for (const less of [letter, ...lessOf(letter)]) {
    try {
      await deadLetters.publish(less, earlier);
      return refused;
    } catch (error) {
      if (!(error instanceof DeadLetterRefused) || error.because !== 'letter') throw error;
      refused ??= error;
    }
  }
  throw refused;
}

/** One line for the log, of a letter that is not there as a whole. */
export function describeRefusal(
  { kind }: DeadLetters,
  { topic, partition, offset }: RecordPosition,
  refusal: DeadLetterRefused,
): string {
  return (
    `the dead-letter ${kind} has only the position of the record at ${topic}[${partition}] offset ${offset}, for it did not ` +
    `take the record: ${refusal.message}`
  );
}
