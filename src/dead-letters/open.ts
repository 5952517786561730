/** Where the dead letters of a configuration are. */
import type { Logger } from 'pino';
import type { Config } from '../config.js';
import type { LetterStore } from './store.js';

/**
 * Loads what its store needs and nothing else. Connects with the first use; the caller disconnects
 * it.
 */
export async function openLetters(config: Config, logger: Logger): Promise<LetterStore> {
  if (config.intake === 'kafka') {
    return (await import('./topic-letters.js')).openTopicLetters(config.kafka, logger);
  }
  return (await import('./stream-letters.js')).openStreamLetters(config);
}
