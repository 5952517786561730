/** The health of several servers as one. */
import { RedisFailure } from './connection/failure.js';
import { haveCommonSlots, type Slots } from './slots.js';

/** Role and size of one server, or of several together. */
export interface Health {
  /** All of them are. */
  readonly isMaster: boolean;
  /** Keys of the selected database. Counts expired keys that are not yet evicted. */
  readonly keys: number;
  /** Which slots these servers have; one that is no Cluster has all. */
  readonly slots: Slots;
  /** Each by itself; also those that do not answer, which the sums leave out. */
  readonly servers: readonly ServerHealth[];
}

export interface ServerHealth {
  readonly place: string;
  readonly slots: Slots;
  readonly answer: { readonly isMaster: boolean; readonly keys: number } | RedisFailure;
}

/** Which servers to ask: the one that has the key, or all that have any of the slots. */
export type HealthOf = { readonly key: Buffer } | { readonly slots: Slots };

export interface HealthOptions {
  /**
   * Count the keys of the application alone, about, by a sample: the marks of DualWriters
   * (`keymend:writer:*`) can be more than all other keys of a small database.
   */
  readonly withoutOwn?: boolean;
}

/** @returns the first failure when none of them answered */
export function summarize(servers: readonly ServerHealth[]): Health | RedisFailure {
  const answered = servers.flatMap(({ answer, slots }) => (answer instanceof RedisFailure ? [] : [{ answer, slots }]));
  if (answered.length === 0) {
    return (servers[0]?.answer as RedisFailure | undefined) ?? new RedisFailure('CLUSTERDOWN', 'no node has the slot');
  }
  return {
    isMaster: answered.every(({ answer }) => answer.isMaster),
    keys: answered.reduce((sum, { answer }) => sum + answer.keys, 0),
    slots: answered.flatMap(({ slots }) => slots),
    servers,
  };
}

/** Of those servers alone that have any of the slots. */
export function healthIn(slots: Slots, { servers }: Health): Health | RedisFailure {
  return summarize(servers.filter((server) => haveCommonSlots(server.slots, slots)));
}
