/** Runs of the workflows beside `reconcileKey` that are recorded for the replay, with stubs. */
import { randomUUID } from 'node:crypto';
import { Context } from '@temporalio/activity';
import type { WorkflowHandle } from '@temporalio/client';
import { ApplicationFailure } from '@temporalio/common';
import type { TestWorkflowEnvironment } from '@temporalio/testing';
import { ALL_EQUAL, BATCH_TYPE, type BatchActivities, packed } from '../../workflows/batch-messages.js';
import { acknowledge, GAP_TYPE, type Gap, lost } from '../../workflows/gap-messages.js';
import { happened, type News, NOTICES_TYPE, type NoticesActivities } from '../../workflows/notices-messages.js';
import { noticed, OUTAGE_TYPE, type OutageActivities } from '../../workflows/outage-messages.js';
import { NOTHING_REDRIVEN, REDRIVE_TYPE, type RedriveActivities } from '../../workflows/redrive-messages.js';
import {
  pause,
  progress,
  resume,
  SCHEDULED_SWEEP_TYPE,
  SWEEP_TYPE,
  type SweepActivities,
  type SweepSummary,
  sweepWorkflowId,
} from '../../workflows/sweep-messages.js';
import { until } from '../support/eventually.js';
import { failedWrite, POLICY } from '../support/workflow-bed.js';

interface OtherRun {
  readonly activities: object;
  /** Starts a workflow that ends by itself. */
  start(client: TestWorkflowEnvironment['client']['workflow'], taskQueue: string): Promise<WorkflowHandle>;
}

const AT = '2026-11-20T23:00:00.000Z';

function batch(replies: Awaited<ReturnType<BatchActivities['reconcileBatch']>>[]): OtherRun {
  const activities: BatchActivities = {
    reconcileBatch: async () => replies.shift()!,
    handOver: async () => {},
  };
  const writes = ['a', 'b', 'c', 'd'].map((key) => packed(failedWrite({ key })));
  const part = { topic: 't', partition: 0, first: '0', last: '3', firstId: writes[0]!.id };
  const input = { link: 'east-to-west', policy: { ...POLICY, settleMs: 50 }, part, writes };
  const start: OtherRun['start'] = (client, taskQueue) =>
    client.start(BATCH_TYPE, { workflowId: randomUUID(), taskQueue, args: [input] });
  return { activities, start };
}

const FAILED = {
  indices: [2],
  error: { type: 'NoPermission', message: 'no right', stage: 'write' },
  permanent: true,
  effect: 'nothing',
} as const;

function outage(): OtherRun {
  let asked = 0;
  const activities: OutageActivities = {
    async answers() {
      asked += 1;
      if (asked < 3) throw ApplicationFailure.retryable('no answer in time', 'TargetUnavailable');
    },
    announce: async () => {},
    notifyOutage: async () => {},
  };
  const start: OtherRun['start'] = (client, taskQueue) =>
    client.signalWithStart(OUTAGE_TYPE, {
      workflowId: randomUUID(),
      taskQueue,
      args: [{ link: 'east-to-west', shard: '10.0.0.1:6379', since: AT, reason: 'no answer in time' }],
      signal: noticed,
      signalArgs: [{ worker: 'one', keysWaiting: 3 }],
    });
  return { activities, start };
}

function gap(): OtherRun {
  const gaps: Gap[] = [
    { id: 'one', cause: 'removed', records: 2, message: 'removed before they were read', noticedAt: AT },
  ];
  return {
    activities: {},
    async start(client, taskQueue) {
      const handle = await client.signalWithStart(GAP_TYPE, {
        workflowId: randomUUID(),
        taskQueue,
        args: [{ link: 'east-to-west' }],
        signal: lost,
        signalArgs: [gaps],
      });
      await handle.signal(acknowledge, { reason: 'compared by hand' });
      return handle;
    },
  };
}

/** Of a sweep that has found nothing. */
export const SUMMARY: SweepSummary = {
  outcome: 'equal',
  compared: 10,
  differing: { missing: 0, extra: 0, type: 0, value: 0, expiry: 0 },
  repaired: 0,
  handedOver: 0,
  unhealed: 0,
  timeline: { found: [], healed: [] },
  unsettled: 0,
  failed: 0,
  reasons: [],
  prefixes: [],
  listed: [],
  targetOnly: 'counted',
  redone: 0,
};

function scheduledSweep(): OtherRun {
  const activities: Pick<SweepActivities, 'startSweep'> = {
    startSweep: async ({ link }) => ({ workflowId: sweepWorkflowId(link), sweep: 'started' }),
  };
  const start: OtherRun['start'] = (client, taskQueue) =>
    client.start(SCHEDULED_SWEEP_TYPE, {
      workflowId: randomUUID(),
      taskQueue,
      args: [{ link: 'east-to-west', options: {} }],
    });
  return { activities, start };
}

function sweep(): OtherRun {
  let calls = 0;
  const state = { parts: [], redone: 0, targetOnly: null };
  const activities: Omit<SweepActivities, 'startSweep'> = {
    lastReached: async () => null,
    async compareLink() {
      calls += 1;
      if (calls > 1) return { state, summary: SUMMARY };
      const context = Context.current();
      const pulse = setInterval(() => context.heartbeat(state), 50);
      await context.cancelled.catch(() => {});
      clearInterval(pulse);
      return { state, summary: null };
    },
  };
  return {
    activities,
    async start(client, taskQueue) {
      const args = [{ link: taskQueue, settleMs: 50, options: {} }];
      const handle = await client.start(SWEEP_TYPE, { workflowId: randomUUID(), taskQueue, args });
      await until(() => calls === 1);
      await handle.signal(pause);
      await until(async () => (await handle.query(progress)).state === 'paused');
      await handle.signal(resume);
      return handle;
    },
  };
}

function notices(): OtherRun {
  let tries = 0;
  const activities: NoticesActivities = {
    async sendNotice() {
      tries += 1;
      if (tries === 1) throw ApplicationFailure.retryable('it answers 500', 'WebhookFailed');
    },
  };
  const news: News = { kind: 'escalations', errorType: 'Contended', keys: 1, firstAt: AT, lastAt: AT, examples: ['k'] };
  const start: OtherRun['start'] = (client, taskQueue) =>
    client.signalWithStart(NOTICES_TYPE, {
      workflowId: randomUUID(),
      taskQueue,
      args: [{ link: 'east-to-west', gatherMs: 50 }],
      signal: happened,
      signalArgs: [[news]],
    });
  return { activities, start };
}

function redrive(): OtherRun {
  let steps = 0;
  const activities: RedriveActivities = {
    async tryLetters() {
      steps += 1;
      const counts = { ...NOTHING_REDRIVEN, seen: 1, redriven: 1, keys: 1, healed: 1 };
      const resolved = [{ end: 'healed', offsets: { 0: [`${steps}`] } }] as const;
      return {
        passed: { 0: `${steps}` },
        ends: { 0: '2' },
        isLast: steps === 2,
        counts,
        resolved,
        failed: [],
        equalKeys: [],
        waitsFor: null,
        storeId: null,
      };
    },
    closeLetters: async () => {},
    countNew: async () => 0,
  };
  const order = { action: 'redrive', filter: { link: 'east-to-west' }, by: 'a person' } as const;
  const start: OtherRun['start'] = (client, taskQueue) =>
    client.start(REDRIVE_TYPE, { workflowId: randomUUID(), taskQueue, args: [order] });
  return { activities, start };
}

/** By the name of the scenario. */
export const OTHER_TYPES: Readonly<Record<string, () => OtherRun>> = {
  'batch-heals-at-once': () => batch([{ ...ALL_EQUAL, repaired: [0, 1] }]),
  'batch-looks-again-and-hands-over': () =>
    batch([{ ...ALL_EQUAL, repaired: [0], lookAgain: [1], failed: [FAILED], large: [3] }, ALL_EQUAL]),
  'batch-waits-for-a-server': () => {
    const shard = { shard: '10.0.0.1:6379', since: AT };
    const deferred = [{ indices: [0, 1, 2, 3], retryAfterMs: 50, outage: shard }];
    return batch([{ ...ALL_EQUAL, deferred }, ALL_EQUAL]);
  },
  'gap-is-acknowledged': gap,
  'notices-are-sent-after-a-refusal': notices,
  'outage-ends': outage,
  'redrive-of-two-steps': redrive,
  'schedule-starts-a-sweep': scheduledSweep,
  'sweep-pauses-and-goes-on': sweep,
};
