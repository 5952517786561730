/** The health of several servers as one. */
import { RedisFailure } from './connection/failure.js';
import type { Health, ServerHealth } from './port.js';
import { haveCommonSlots, type Slots } from './slots.js';

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
