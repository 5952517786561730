/** What a sweep has found, bounded: it travels with each sign of life, and stays in the history. */

import type { EncodedKey } from '../../workflows/failed-write.js';
import {
  DIFFERENCES,
  type DifferenceKind,
  type ListedDifference,
  type SweepPart,
  type SweepReached,
  type SweepTally,
} from '../../workflows/sweep-messages.js';
import { encodeKey } from '../events/failed-write-codec.js';
import { prefixOf } from '../events/key-prefix.js';
import { joined, MOST_POINTS, marked } from './timeline.js';

/** Of one sweep together, however many servers it has. */
const MOST_LISTED = 1_000;
const MOST_LISTED_BYTES = 64 * 1024;
const MOST_PREFIXES = 200;
const MOST_REASONS = 5;
/** Of each server, however many there are. */
const LEAST_POINTS = 4;

export const NOTHING_FOUND: SweepTally = {
  differing: { missing: 0, extra: 0, type: 0, value: 0, expiry: 0 },
  handedOver: 0,
  found: [],
  unsettled: 0,
  failed: 0,
  reasons: [],
  prefixes: {},
  listed: [],
};

/** What is to be added to a tally. */
export interface Finding {
  readonly key: Buffer;
  /** null: it could not be compared. */
  readonly difference: DifferenceKind | null;
  /** When that was sure, in ms since the epoch; without difference unknown. */
  readonly foundAtMs?: number;
  /** The position of the batch that it was handed over to. */
  readonly batch?: number;
  /** Why it could not be compared, or not repaired; null: it changed at each look. */
  readonly reason?: string | null;
}

/** How many parts, and what they have found; none: of a single one. */
type Others = Pick<SweepTally, 'listed' | 'prefixes' | 'reasons'> & { readonly parts?: number };

/**
 * @param others what other parts of the sweep have already: the bounds are of all together. Of its
 *   own, each part has some points of time and one reason
 * @param isDrawn of a sample, in which a key that was drawn twice counts twice, as it does among
 *   those that were compared. Else it is SCAN that tells of a key twice
 */
export function added(tally: SweepTally, findings: readonly Finding[], others: Others, isDrawn = false): SweepTally {
  if (findings.length === 0) return tally;
  let { handedOver = 0, unsettled, failed, again = 0 } = tally;
  let found = tally.found ?? [];
  const differing = { ...tally.differing };
  const reasons = [...tally.reasons];
  const prefixes = { ...tally.prefixes };
  const list = [...tally.listed];
  let room = {
    keys: MOST_LISTED - others.listed.length - list.length,
    bytes: MOST_LISTED_BYTES - bytesOf(others.listed) - bytesOf(list),
    prefixes: MOST_PREFIXES - Object.keys(others.prefixes).length,
    reasons: Math.max(1, MOST_REASONS - others.reasons.length),
    points: Math.max(LEAST_POINTS, Math.floor(MOST_POINTS / (1 + (others.parts ?? 0)))),
  };
  const known = new Set(list.map(nameOf));
  for (const { key, difference, reason, batch, foundAtMs = Date.now() } of findings) {
    const isKnown = known.has(nameOf(encodeKey(key)));
    if (isKnown && !isDrawn) continue;
    if (reason === null) unsettled += 1;
    else if (reason !== undefined) {
      failed += 1;
      if (reasons.length < room.reasons && !reasons.includes(reason)) reasons.push(reason);
    }
    if (difference === null) continue;
    differing[difference] += 1;
    found = marked(found, foundAtMs, 1, room.points);
    if (batch !== undefined) handedOver += 1;
    const prefix = prefixOf(key);
    if (Object.hasOwn(prefixes, prefix) || Object.keys(prefixes).length < room.prefixes)
      prefixes[prefix] = { ...prefixes[prefix], [difference]: (prefixes[prefix]?.[difference] ?? 0) + 1 };
    const foundAt = new Date(foundAtMs).toISOString();
    const entry: ListedDifference = { ...encodeKey(key), difference, foundAt, ...(batch !== undefined && { batch }) };
    const bytes = bytesOf([entry]);
    if (isKnown) again += 1;
    if (isKnown || room.keys <= 0 || room.bytes < bytes) continue;
    list.push(entry);
    known.add(nameOf(entry));
    room = { ...room, keys: room.keys - 1, bytes: room.bytes - bytes };
  }
  return {
    differing,
    handedOver,
    found,
    unsettled,
    failed,
    reasons,
    prefixes,
    listed: list,
    ...(again > 0 && { again }),
  };
}

function nameOf({ key, encoding }: EncodedKey): string {
  return `${encoding} ${key}`;
}

function bytesOf(listed: SweepTally['listed']): number {
  return listed.reduce((sum, { key }) => sum + JSON.stringify(key).length, 0);
}

/** All parts together. */
export function summed(parts: readonly SweepPart[]): SweepTally {
  return parts.reduce<SweepTally>((sum, { tally }) => {
    const prefixes = { ...sum.prefixes };
    for (const [prefix, counts] of Object.entries(tally.prefixes))
      prefixes[prefix] = someOf(plus(prefixes[prefix], counts));
    const again = (sum.again ?? 0) + (tally.again ?? 0);
    return {
      differing: plus(sum.differing, tally.differing),
      handedOver: sum.handedOver + (tally.handedOver ?? 0),
      found: joined([sum.found, tally.found ?? []]),
      unsettled: sum.unsettled + tally.unsettled,
      failed: sum.failed + tally.failed,
      reasons: [...new Set([...sum.reasons, ...tally.reasons])].slice(0, MOST_REASONS),
      prefixes,
      listed: [...sum.listed, ...tally.listed],
      ...(again > 0 && { again }),
    };
  }, NOTHING_FOUND);
}

function plus(one: SweepTally['prefixes'][''] = {}, other: SweepTally['prefixes']['']): SweepReached['differing'] {
  const sums = DIFFERENCES.map((kind) => [kind, (one[kind] ?? 0) + (other[kind] ?? 0)]);
  return Object.fromEntries(sums) as SweepReached['differing'];
}

function someOf(counts: SweepReached['differing']): SweepTally['prefixes'][''] {
  return Object.fromEntries(Object.entries(counts).filter(([, count]) => count > 0));
}

/**
 * Each key once: the source's or those that were given, and what was found on the target alone.
 * What else the target has was compared from the source's side.
 */
export function comparedIn(parts: readonly SweepPart[]): number {
  return parts.reduce(
    (sum, { side, compared, tally }) => sum + (side === 'target' ? differencesIn(tally) : compared),
    0,
  );
}

/** How many differ in all. */
export function differencesIn({ differing }: Pick<SweepTally, 'differing'>): number {
  return DIFFERENCES.reduce((sum, kind) => sum + differing[kind], 0);
}

/** How many of these are not listed, for there was no room. */
export function unlistedIn({
  differing,
  listed,
  again = 0,
}: Pick<SweepTally, 'differing' | 'listed' | 'again'>): number {
  return differencesIn({ differing }) - listed.length - again;
}
