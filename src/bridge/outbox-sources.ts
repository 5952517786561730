/** Where outboxes are: on the source of each link, once where links share it. */
import type { LinkConfig } from '../config.js';

export interface OutboxSource {
  readonly url: string;
  /** What to call it in messages. */
  readonly name: string;
  /** Of the links that have this source. */
  readonly links: readonly string[];
}

/** The outbox of a link can't be used. The message is one line: which, why. */
export class OutboxUnsupported extends Error {
  override readonly name = 'OutboxUnsupported';
}

/** @throws OutboxUnsupported for a source that is not one server */
export function outboxSources(links: readonly LinkConfig[]): OutboxSource[] {
  const names = new Map<string, string[]>();
  for (const { name, source } of links) {
    if (!('url' in source)) {
      const topology = 'cluster' in source ? 'cluster' : 'sentinel';
      throw new OutboxUnsupported(
        `source of link ${name}: an outbox on { ${topology}: … } is not supported yet; give { url } of one server`,
      );
    }
    names.set(source.url, [...(names.get(source.url) ?? []), name]);
  }
  return [...names].map(([url, linksOf]) => ({
    url,
    name: `source of link ${linksOf.join(' and ')}`,
    links: linksOf,
  }));
}
