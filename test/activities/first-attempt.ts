/** First attempts, as a worker makes them. */
import { randomUUID } from 'node:crypto';
import { MockActivityEnvironment } from '@temporalio/testing';
import { DefaultLogger } from '@temporalio/worker';
import type { EndedResult } from '../../activities/effect.js';
import { create } from '../../activities/index.js';
import type { LinkSides } from '../../src/engine/index.js';
import { RedisFailure, type RedisPort } from '../../src/redis/index.js';
import type { Activities, ReconcileReply, ReconcileRequest } from '../../workflows/activities.js';
import { DEFAULT_OPTIONS, portWith } from '../engine/link.js';

export function activitiesOf(sides: LinkSides, told: EndedResult[] = []): Activities {
  return create({
    links: new Map([['east-to-west', { sides, options: DEFAULT_OPTIONS }]]),
    usableAttributes: async () => [],
    publishEscalation: async () => {},
    onResult: (result) => told.push(result),
  });
}

/** At the whole key. */
export function requestFor(key: string): ReconcileRequest {
  return {
    link: 'east-to-west',
    key,
    encoding: 'utf8',
    hint: { whole: true, memberCommands: [], otherCommands: [], members: { utf8: [], base64: [] } },
    allowDelete: false,
  };
}

export function firstAttempt(
  activities: Activities,
  key: string,
  changes: Partial<ReconcileRequest> = {},
  timeoutMs = 5_000,
  activityId: string = randomUUID(),
) {
  const info = { isLocal: true, startToCloseTimeoutMs: timeoutMs, activityId };
  // Without a log: it would print each failure.
  const environment = new MockActivityEnvironment(info, { logger: new DefaultLogger('ERROR') });
  const reply: Promise<ReconcileReply> = environment.run(activities.reconcile, { ...requestFor(key), ...changes });
  return { reply, environment };
}

/** The same target, where each write is done, but its answer lost: from one of them on, from 1. */
export function losingAnswers(target: RedisPort, from = 1): RedisPort {
  let writes = 0;
  const losing: RedisPort = portWith(target, {
    async repair(repairs) {
      const outcomes = await target.repair(repairs);
      writes += 1;
      return writes < from ? outcomes : outcomes.map(() => new RedisFailure('TIMEOUT', 'no answer in time'));
    },
    admit: async (requests) => ({ kind: 'admitted', keys: requests.length, port: losing, done: () => 0 }),
  });
  return losing;
}
