/** The workflow `reconcileBatch` with scripted activities. */
import { randomUUID } from 'node:crypto';
import { ApplicationFailure } from '@temporalio/common';
import { Worker } from '@temporalio/worker';
import { describe, expect, it } from 'vitest';
import {
  ALL_EQUAL,
  BATCH_TYPE,
  type BatchActivities,
  type BatchInput,
  type BatchReply,
  type BatchRequest,
  type BatchResult,
  type BatchStatus,
  type HandOverRequest,
  packed,
  retry,
  status,
} from '../../workflows/batch-messages.js';
import { eventually, until } from '../support/eventually.js';
import {
  describeTimeSkipping,
  failedWrite,
  onStack,
  POLICY,
  shownOf,
  workflowBundle,
} from '../support/workflow-bed.js';

const SINCE = '2026-11-20T23:00:00.000Z';
const OUT = { shard: '10.0.0.1:6379', since: SINCE };

function inputOf(keys: number): BatchInput {
  const writes = Array.from({ length: keys }, (_, index) => packed(failedWrite({ key: `k${index}` })));
  return {
    link: 'east-to-west',
    policy: POLICY,
    part: { topic: 't', partition: 0, first: '0', last: `${keys - 1}`, firstId: writes[0]!.id },
    writes,
  };
}

type Env = ReturnType<typeof onStack>['env'];
type BatchHandle = Awaited<ReturnType<typeof start>>;

/** @param reply to each attempt, by its number from 1 */
async function withBatch(
  env: Env,
  keys: number,
  reply: (request: BatchRequest, attempt: number) => Partial<BatchReply>,
  work: (handle: BatchHandle, handedOver: string[], handing: HandOverRequest[]) => Promise<void>,
): Promise<void> {
  const taskQueue = `batch-${randomUUID()}`;
  const handedOver: string[] = [];
  const handing: HandOverRequest[] = [];
  let attempts = 0;
  const activities: BatchActivities = {
    reconcileBatch: async (request) => ({ ...ALL_EQUAL, ...reply(request, ++attempts) }),
    handOver: async (request) => {
      handing.push(request);
      handedOver.push(...request.writes.map(({ key }) => key));
    },
  };
  const worker = await Worker.create({
    connection: env.nativeConnection,
    taskQueue,
    workflowBundle: workflowBundle(),
    activities,
  });
  await worker.runUntil(async () => work(await start(env, taskQueue, inputOf(keys)), handedOver, handing));
}

const start = (env: Env, taskQueue: string, input: BatchInput) =>
  env.client.workflow.start<(input: BatchInput) => Promise<BatchStatus>>(BATCH_TYPE, {
    workflowId: `batch-${randomUUID()}`,
    taskQueue,
    args: [input],
  });

const allOf = ({ writes }: BatchRequest) => [...writes.keys()];

await describeTimeSkipping('a batch, while time is skipped,', (server) => {
  it('waits for ten minutes for a server that is out, as one, and heals without a failed attempt', async () => {
    await withBatch(
      server.env,
      1_000,
      (request, attempt) =>
        attempt <= 10
          ? { deferred: [{ indices: allOf(request), retryAfterMs: 60_000, outage: OUT }] }
          : { repaired: allOf(request) },
      async (handle, handedOver) => {
        expect(await handle.result()).toMatchObject({ keys: 1_000, repaired: 1_000, handedOver: 0, lastError: null });
        expect(handedOver).toEqual([]);
      },
    );
  });

  it('verifies what is to be looked at again once for all of it, after `settle`', async () => {
    const asked: number[] = [];
    await withBatch(
      server.env,
      100,
      (request, attempt) => {
        asked.push(request.writes.length);
        return attempt === 1 ? { lookAgain: allOf(request).slice(0, 40), repaired: [99] } : {};
      },
      async (handle) => {
        expect(await handle.result()).toMatchObject({ equal: 59, repaired: 41 });
        expect(asked).toEqual([100, 40]);
      },
    );
  });

  it('of which no attempt is made gives each key to its own workflow when the policy ends', async () => {
    await withBatch(
      server.env,
      2,
      () => {
        throw ApplicationFailure.retryable('not here', 'UnknownLink');
      },
      async (handle, handedOver) => {
        expect(await handle.result()).toMatchObject({ handedOver: 2, lastError: { type: 'UnknownLink' } });
        expect(handedOver).toEqual(['k0', 'k1']);
      },
    );
  });
});

const stack = onStack();
describe('a batch', () => {
  it('hands a poisoned key over and heals the others', async () => {
    const error = { type: 'Unsupported', message: 'no', stage: 'write' } as const;
    await withBatch(
      stack.env,
      10,
      () => ({ failed: [{ indices: [3], error, permanent: true, effect: 'nothing' }], large: [5] }),
      async (handle, handedOver) => {
        expect(await handle.result()).toMatchObject({ state: 'done', equal: 8, handedOver: 2, lastError: error });
        expect(handedOver.sort()).toEqual(['k3', 'k5']);
      },
    );
  });

  it('is settled for all attempts once settle has passed since it was started, whatever clocks its workers have', async () => {
    const settled: (boolean | undefined)[] = [];
    await withBatch(
      stack.env,
      1,
      (request, attempt) => {
        settled.push(request.isSettled);
        return attempt < 3 ? { deferred: [{ indices: [0], retryAfterMs: POLICY.settleMs }] } : {};
      },
      async (handle) => {
        await handle.result();
        // The first may come late itself.
        expect(settled.slice(1)).toEqual([true, true]);
      },
    );
  });

  it('hands a key over that a lost attempt may still write only when that is over', async () => {
    const error = { type: 'TargetUnavailable', message: 'no', stage: 'write' } as const;
    await withBatch(
      stack.env,
      1,
      () => ({ failed: [{ indices: [0], error, permanent: true, effect: 'unknown' }] }),
      async (handle, _handedOver, handing) => {
        await handle.result();
        expect(handing.map(({ afterMs }) => afterMs)).toEqual([expect.toSatisfy((ms) => ms > 5_000 && ms <= 6_000)]);
      },
    );
  });

  it('says what it waits for, and tries again when it is told to', async () => {
    await withBatch(
      stack.env,
      3,
      (request, attempt) =>
        attempt === 1 ? { deferred: [{ indices: allOf(request).slice(1), retryAfterMs: 3_600_000, outage: OUT }] } : {},
      async (handle) => {
        await until(async () => (await handle.query(status)).state === 'waiting');
        const now = await handle.query(status);
        expect(now).toMatchObject({ keys: 3, equal: 1, outage: OUT, nextTry: expect.any(String) });
        expect((await shownOf(handle)).split('\n')).toEqual([
          '**waiting** · link east-to-west · 1 of 3 keys healed',
          '',
          '- failed writes: t\\[0\\] 0 to 2',
          '- found equal: 1, repaired: 0',
          `- waits for 10\\.0.0.1\\:6379 (no answer since ${SINCE.replaceAll(':', '\\:')})`,
          `- next try by itself: ${now.nextTry}; the signal \`retry\` makes it now`,
        ]);
        await handle.signal(retry);
        expect(await handle.result()).toMatchObject({ state: 'done', equal: 3, outage: null });
        expect(await shownOf(handle)).toContain('**done** · link east-to-west · 3 of 3 keys healed');
      },
    );
  });

  it('still knows in another run which keys went on in the ones before', async () => {
    const error = { type: 'Unsupported', message: 'no', stage: 'write' } as const;
    let isOut = true;
    await withBatch(
      stack.env,
      2,
      (request, attempt) =>
        attempt === 1
          ? {
              failed: [{ indices: [0], error, permanent: true, effect: 'nothing' }],
              deferred: [{ indices: [1], retryAfterMs: 3_600_000, outage: OUT }],
            }
          : isOut
            ? { deferred: [{ indices: allOf(request), retryAfterMs: 3_600_000, outage: OUT }] }
            : {},
      async (handle, handedOver) => {
        const latest = stack.env.client.workflow.getHandle<() => Promise<BatchResult>>(handle.workflowId);
        const { runId } = await latest.describe();
        const isAnotherRun = async () => (await latest.describe()).runId !== runId;
        await until(async () => handedOver.length === 1);
        // The server suggests another run by the bytes of a history, from 4 MiB on. One after the
        // other: what a task has not taken yet may have 2 MB.
        const padding = 'x'.repeat(500_000);
        while (!(await isAnotherRun())) {
          await latest.signal('retry', padding);
          // A run that has just begun may have no task yet.
          await eventually(async () => expect((await latest.query(status)).state).toBe('waiting'));
        }
        isOut = false;
        await latest.signal(retry);
        expect(await latest.result()).toMatchObject({
          equal: 1,
          handedOver: 1,
          wentOn: [{ key: 'k0', encoding: 'utf8' }],
        });
      },
    );
  });

  it('that is cancelled leaves each of its keys to a workflow of its own', async () => {
    await withBatch(
      stack.env,
      3,
      (request) => ({ deferred: [{ indices: allOf(request).slice(1), retryAfterMs: 3_600_000, outage: OUT }] }),
      async (handle, handedOver) => {
        await until(async () => (await handle.query(status)).state === 'waiting');
        await handle.cancel();
        expect(await handle.result()).toMatchObject({ equal: 1, handedOver: 2 });
        expect(handedOver).toEqual(['k1', 'k2']);
      },
    );
  });

  it('of a thousand keys costs at most 4 actions: its start, an attempt, a timer, a second look', async () => {
    const costs: { transitions: number; actions: object }[] = [];
    const measure = async (handle: BatchHandle) => {
      await handle.result();
      const { events } = await handle.fetchHistory();
      const count = (field: string) => events!.filter((event) => field in event && event[field as never]).length;
      const actions = {
        started: count('workflowExecutionStartedEventAttributes'),
        tasksWithLocalActivities: count('markerRecordedEventAttributes'),
        timers: count('timerStartedEventAttributes'),
        activities: count('activityTaskScheduledEventAttributes'),
      };
      const { raw } = await handle.describe();
      costs.push({ transitions: Number(raw.workflowExecutionInfo!.stateTransitionCount), actions });
    };
    const reply = (request: BatchRequest, attempt: number) => (attempt === 1 ? { lookAgain: allOf(request) } : {});
    // The cheapest counts: a task that a busy machine leaves waiting costs another one.
    for (let batch = 0; batch < 5; batch++) await withBatch(stack.env, 1_000, reply, measure);
    const { transitions, actions } = costs.sort((one, other) => one.transitions - other.transitions)[0]!;
    expect(actions).toEqual({ started: 1, tasksWithLocalActivities: 2, timers: 1, activities: 0 });
    expect(transitions).toBeLessThanOrEqual(8);
  });
});
