/** Where outboxes are: on the source of each link, once where links share it. */
import type { Endpoint, LinkConfig } from '../config.js';
import { hasSlots } from '../redis/index.js';
import { clusterStreams } from './cluster-streams.js';

export interface OutboxSource {
  readonly endpoint: Endpoint;
  /** What to call it in messages. */
  readonly name: string;
  /** Of the links that have this source. */
  readonly links: readonly string[];
}

/** A database has none. */
export function outboxSources(links: readonly LinkConfig[]): OutboxSource[] {
  const shared = new Map<string, { endpoint: Endpoint; names: string[] }>();
  for (const { name, source } of links) {
    if ('mysql' in source) continue;
    const found = shared.get(JSON.stringify(source));
    if (found) found.names.push(name);
    else shared.set(JSON.stringify(source), { endpoint: source, names: [name] });
  }
  return [...shared.values()].map(({ endpoint, names }) => ({
    endpoint,
    name: `source of link ${names.join(' and ')}`,
    links: names,
  }));
}

/**
 * The keys of the streams that an outbox, or its dead letters, consist of: one, in a Cluster
 * several.
 * @throws Error when the key can't name streams in a Cluster
 */
export function streamsOf({ endpoint }: OutboxSource, key: string): readonly string[] {
  return hasSlots(endpoint) ? clusterStreams(key) : [key];
}
