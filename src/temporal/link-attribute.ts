/**
 * The search attribute with which workflows are started. Where Temporal refuses it (it is missing,
 * or of another type) they are started without: it is for those who look for them.
 */
import { defineSearchAttributeKey, type SearchAttributePair } from '@temporalio/common';
import type { Logger } from 'pino';
import { SEARCH_ATTRIBUTES } from '../../workflows/messages.js';
import { refusalOf } from './error-text.js';

const LINK = defineSearchAttributeKey(SEARCH_ATTRIBUTES.link, 'KEYWORD');
/** After a refusal it is left out for so long, then tried again. */
const LEFT_OUT_MS = 60_000;

/** The part of the start options that it is. */
interface LinkAttributes {
  readonly typedSearchAttributes?: SearchAttributePair[];
}

export class LinkAttribute {
  readonly #logger: Pick<Logger, 'warn' | 'info'>;
  #leftOutUntil = Number.NEGATIVE_INFINITY;
  #isRefused = false;

  constructor(logger: Pick<Logger, 'warn' | 'info'>) {
    this.#logger = logger;
  }

  /**
   * Starts something, a second time without the attribute when the first is refused because of it.
   * @throws what `start` throws otherwise
   */
  async starting<T>(link: string, start: (attributes: LinkAttributes) => Promise<T>): Promise<T> {
    if (performance.now() < this.#leftOutUntil) return start({});
    try {
      const started = await start({ typedSearchAttributes: [{ key: LINK, value: link }] });
      if (this.#isRefused) this.#logger.info(`over: Temporal does not take the search attribute ${LINK.name}`);
      this.#isRefused = false;
      return started;
    } catch (error) {
      const refusal = refusalOf(error);
      if (refusal === null || !isOfAttribute(refusal)) throw error;
      const started = await start({});
      if (!this.#isRefused) {
        this.#logger.warn(
          `Temporal does not take the search attribute ${LINK.name} (${refusal}); workflows start without it. If it is missing: ` +
            `\`temporal operator search-attribute create --name ${LINK.name} --type Keyword\``,
        );
      }
      this.#isRefused = true;
      this.#leftOutUntil = performance.now() + LEFT_OUT_MS;
      return started;
    }
  }
}

function isOfAttribute(refusal: string): boolean {
  return /search ?attribute/i.test(refusal) || refusal.includes(LINK.name);
}
