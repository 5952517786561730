/**
 * Under which keys the source counts what failed: one HyperLogLog for each link and hour. In a
 * Cluster all of a link are in one slot, so that one command can take them together.
 */
import type { Endpoint, LinkConfig } from '../config.js';
import { clusterStreamIndex, clusterStreams } from '../outbox/cluster-streams.js';
import { hasSlots, slotOf } from '../redis/index.js';

const PREFIX = 'keymend:failing-keys';

export const HOUR_MS = 3_600_000;
/** Of the present hour and so many before it is told. */
export const HOURS_TOLD = 24;
/** They go by themselves then, counted from the beginning of their hour. */
export const KEPT_MS = 2 * HOURS_TOLD * HOUR_MS;

/** One whose source is a Redis: a database has no such counts. */
export interface CountingLink {
  readonly name: string;
  readonly source: Endpoint;
}

export function countsFailingKeys<Link extends Pick<LinkConfig, 'source'>>(
  link: Link,
): link is Link & Pick<CountingLink, 'source'> {
  return !('mysql' in link.source);
}

/** An hour by its beginning, for example `2026-11-30T14`, UTC: as ISO 8601 has it up to there. */
export type Hour = string;

export function hourOf(time: string): Hour {
  return time.slice(0, '2026-11-30T14'.length);
}

export function hourAt(ms: number): Hour {
  return hourOf(new Date(ms).toISOString());
}

/** In ms since the epoch. */
export function beginningOf(hour: Hour): number {
  return Date.parse(`${hour}:00:00.000Z`);
}

/** `keymend:failing-keys:<link>:<hour>`, in a Cluster with one of the tags of its streams. */
export function countKey({ name, source }: CountingLink, hour: Hour): string {
  const prefix = hasSlots(source) ? clusterStreams(PREFIX)[clusterStreamIndex(slotOf(Buffer.from(name)))] : PREFIX;
  return `${prefix}:${name}:${hour}`;
}
