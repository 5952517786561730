/** Where outboxes are: on the source of each link, once where links share it. */
import type { LinkConfig } from '../config.js';
import type { Address } from '../redis/index.js';

export interface OutboxSource {
  readonly address: Address;
  /** What to call it in messages. */
  readonly name: string;
  /** Of the links that have this source. */
  readonly links: readonly string[];
}

/** The outbox of a link can't be used. The message is one line: which, why. */
export class OutboxUnsupported extends Error {
  override readonly name = 'OutboxUnsupported';
}

/** @throws OutboxUnsupported for a source that is a Cluster */
export function outboxSources(links: readonly LinkConfig[]): OutboxSource[] {
  const shared = new Map<string, { address: Address; names: string[] }>();
  for (const { name, source } of links) {
    if ('cluster' in source) {
      throw new OutboxUnsupported(
        `source of link ${name}: an outbox on { cluster: … } is not supported yet; give { url } or { sentinel } of one server`,
      );
    }
    const found = shared.get(JSON.stringify(source));
    if (found) found.names.push(name);
    else shared.set(JSON.stringify(source), { address: source, names: [name] });
  }
  return [...shared.values()].map(({ address, names }) => ({
    address,
    name: `source of link ${names.join(' and ')}`,
    links: names,
  }));
}
