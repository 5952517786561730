/** Where dead letters go. */
import type { DeadLetter } from './dead-letter.js';

export interface DeadLetters {
  /** What it is, in messages. */
  readonly kind: 'topic' | 'stream';
  /**
   * Resolves when the topic (or the stream that stands for one) has acknowledged the letter. A
   * retry after a lost acknowledgement may publish it twice.
   * @throws DeadLetterRefused when it does not take the letter as it is; any other error is passing
   */
  publish(letter: DeadLetter): Promise<void>;
  close(): Promise<void>;
}

/**
 * The topic or stream refuses this record until an operator raises a limit or makes room. The
 * message is one line saying how.
 */
export class DeadLetterRefused extends Error {
  override readonly name = 'DeadLetterRefused';
}
