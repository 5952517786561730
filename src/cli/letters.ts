/** The dead letters of the configuration, as verbs read and show them. */
import type { EncodedKey } from '../../workflows/failed-write.js';
import type { LetterFilter } from '../../workflows/redrive-messages.js';
import type { Config } from '../config.js';
import { fingerprintOf, isMeant } from '../dead-letters/filter.js';
import { type Letter, nameOf } from '../dead-letters/letter.js';
import { openLetters } from '../dead-letters/open.js';
import type { LetterStore } from '../dead-letters/store.js';
import { encodeKey } from '../events/failed-write-codec.js';
import { readConfig } from './configured.js';
import type { GlobalOptions } from './context.js';
import { createLogger } from './log.js';

/** Runs `work` with the dead letters, whether Temporal is there or not. */
export async function withLetters<T>(
  options: GlobalOptions,
  work: (store: LetterStore, config: Config) => Promise<T>,
): Promise<T> {
  const { config } = readConfig(options);
  const store = await openLetters(config, createLogger(options, config));
  try {
    return await work(store, config);
  } finally {
    await store.disconnect();
  }
}

/** Those that are open now and that the filter means. */
export async function* meantLetters(store: LetterStore, filter: LetterFilter): AsyncGenerator<Letter> {
  const now = Date.now();
  for await (const letter of store.letters({})) if (isMeant(letter, filter, now)) yield letter;
}

/** What is shown of a letter in a list. */
export interface LetterView {
  /** Its name: where it is. */
  readonly letter: string;
  /** The fingerprint of what it has in common with others. */
  readonly group: string;
  /** ISO 8601, UTC. */
  readonly at: string;
  readonly reason: string;
  readonly errorType: string | null;
  readonly errorMessage: string | null;
  readonly link: string | null;
  readonly key: EncodedKey | null;
  readonly eventId: string | null;
  readonly redriven: number;
}

export function viewOf(letter: Letter): LetterView {
  const { place, at, reason, errorType, errorMessage, link, record, eventId, redriven } = letter;
  return {
    letter: nameOf(place),
    group: fingerprintOf(letter),
    at: new Date(at).toISOString(),
    reason,
    errorType: errorType ?? null,
    errorMessage: errorMessage ?? null,
    link: link ?? null,
    key: record.key === null ? null : encodeKey(record.key),
    eventId: eventId ?? null,
    redriven,
  };
}
