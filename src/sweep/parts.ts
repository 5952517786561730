/** Which part of a sweep is of which server, and what of them holds after a failover. */
import { createHash } from 'node:crypto';
import type { SweepPart, SweepState } from '../../workflows/sweep-messages.js';
import { reconcileError, type Side } from '../engine/index.js';
import { type KeyServer, type Keyspace, RedisFailure } from '../redis/index.js';
import { differencesIn, NOTHING_FOUND } from './tally.js';

export type Servers = Readonly<Record<Side, readonly KeyServer[]>>;

/** Whose keys are scanned. A target that is a cache is `cache`: what it lacks is no difference. */
export type ScannedSide = Exclude<SweepPart['side'], 'keys'>;

export function sideOf(scanned: ScannedSide): Side {
  return scanned === 'cache' ? 'target' : scanned;
}

/** Where the pages of each side are read. */
export type Keyspaces = Readonly<Record<Side, Keyspace>>;

/** @throws ReconcileError where a server does not answer */
export async function serversOf(sides: Keyspaces): Promise<Servers> {
  const [source, target] = await Promise.all([sides.source.keyServers(), sides.target.keyServers()]);
  if (source instanceof RedisFailure) throw reconcileError(source, 'source', 'read', sides.source.place);
  if (target instanceof RedisFailure) throw reconcileError(target, 'target', 'read', sides.target.place);
  return { source, target };
}

/**
 * The state with one part for each server of a side as they are now. A part stays only if its
 * server is the same process with the same slots, and if what it was compared with is the same: a
 * server that was restarted, or took over, may have lost what was found equal.
 * What was proven by counting is to be proven anew where any does not.
 * @returns the very same state where all parts stay
 */
export function synchronized(state: SweepState, side: ScannedSide, servers: Servers): SweepState {
  const other = servers[side === 'source' ? 'target' : 'source'];
  const others = createHash('sha1')
    .update(
      other
        .map(({ server }) => server)
        .sort()
        .join(' '),
    )
    .digest('base64');
  const ofSide = state.parts.filter((part) => part.side === side);
  const stay = new Set<SweepPart>();
  const parts = servers[sideOf(side)].map((now): SweepPart => {
    const slots = JSON.stringify([now.slots, ...now.moving]);
    const known = ofSide.find((part) => part.server === now.server && part.slots === slots && part.others === others);
    const { place, server, keys } = now;
    const begun = { side, place, server, slots, others, keys };
    if (known === undefined) return { ...begun, ...AT_ITS_BEGINNING };
    stay.add(known);
    // Where it is asked may be another address now.
    return known.place === place ? known : { ...known, place };
  });
  if (parts.length === ofSide.length && parts.every((part) => ofSide.includes(part))) return state;
  const redone = ofSide.filter((part) => (part.done || part.passed > 0) && !stay.has(part)).length;
  return {
    ...state,
    parts: [...state.parts.filter((part) => part.side !== side), ...parts],
    redone: state.redone + redone,
    targetOnly: state.targetOnly === 'counted' ? null : state.targetOnly,
  };
}

/** That of the worker and those of the servers. */
const CLOCKS_DIFFER_MS = 60_000;

const AT_ITS_BEGINNING = {
  cursor: '0',
  done: false,
  passed: 0,
  own: 0,
  compared: 0,
  soonestExpiry: null,
  tally: NOTHING_FOUND,
};

/** The part of keys that were given. */
export function partOfKeys(keys: number): SweepPart {
  const nowhere = { place: '', server: '', slots: '', others: '' };
  return { side: 'keys', ...nowhere, keys, ...AT_ITS_BEGINNING };
}

/**
 * Whether the target can have no key that the source has not: all of the source's were found equal
 * there, and it has no more. Only where each side still has as many as were met, so that no key was
 * met twice and none has come or gone; where none has expired, for a server counts keys that it
 * has not taken away yet; and where no slot is on its way, for its keys may be counted nowhere.
 */
export function isCounted({ parts }: SweepState, { source, target }: Servers): boolean {
  const ofSource = parts.filter(({ side }) => side === 'source');
  const met = ofSource.reduce((sum, { compared }) => sum + compared, 0);
  const own = ofSource.reduce((sum, part) => sum + part.own, 0);
  const total = (servers: readonly KeyServer[]) => servers.reduce((sum, { keys }) => sum + keys, 0);
  const begun = ofSource.reduce((sum, { keys }) => sum + keys, 0);
  // Of what differs the target's own expiry is not known: it may have gone there since.
  const differs = ofSource.some(({ tally }) => differencesIn(tally) + tally.unsettled + tally.failed > 0);
  const notBefore = Date.now() + CLOCKS_DIFFER_MS;
  const mayHaveExpired = ofSource.some(({ soonestExpiry }) => soonestExpiry !== null && soonestExpiry < notBefore);
  const isMoving = [...source, ...target].some(({ moving }) => moving.length > 0);
  if (differs || mayHaveExpired || isMoving) return false;
  return met + own === total(source) && begun === total(source) && total(target) === met;
}
