/** The workflow `sweep`, with a scripted comparison, on a real Temporal. */
import { Context } from '@temporalio/activity';
import { ApplicationFailure } from '@temporalio/common';
import { Worker } from '@temporalio/worker';
import { ulid } from 'ulid';
import { expect, test } from 'vitest';
import type { sweep } from '../../workflows/sweep.js';
import {
  type CompareLinkReply,
  type CompareLinkRequest,
  pause,
  progress,
  rate,
  reached,
  resume,
  type SweepActivities,
  type SweepInput,
  type SweepState,
  sweepWorkflowId,
} from '../../workflows/sweep-messages.js';
import { eventually } from '../support/eventually.js';
import { onStack, shownOf, workflowBundle } from '../support/workflow-bed.js';
import { SUMMARY } from './other-types.js';

const server = onStack();

/** As far as the call with that number has come. */
const stateOf = (call: number): SweepState => ({ parts: [], redone: call, targetOnly: null });

/** A comparison that goes on until it is cancelled, and ends once it is let. */
class Comparison {
  readonly requests: CompareLinkRequest[] = [];
  #end = () => {};
  readonly ended = new Promise<void>((resolve) => {
    this.#end = resolve;
  });
  end = () => this.#end();

  readonly activities: Omit<SweepActivities, 'startSweep'> = {
    lastReached: async () => null,
    compareLink: async (request): Promise<CompareLinkReply> => {
      this.requests.push(request);
      const call = this.requests.length;
      const context = Context.current();
      const pulse = setInterval(() => context.heartbeat(), 100);
      try {
        await Promise.race([this.ended, context.cancelled]);
        return { state: stateOf(call), summary: SUMMARY };
      } catch {
        return { state: stateOf(call), summary: null };
      } finally {
        clearInterval(pulse);
      }
    },
  };
}

async function withSweep(
  input: Partial<SweepInput>,
  work: (handle: Awaited<ReturnType<typeof start>>, comparison: Comparison) => Promise<void>,
): Promise<void> {
  const comparison = new Comparison();
  const link = ulid();
  const worker = await Worker.create({
    connection: server.env.nativeConnection,
    taskQueue: link,
    workflowBundle: workflowBundle(),
    activities: comparison.activities,
    maxHeartbeatThrottleInterval: '50 milliseconds',
    defaultHeartbeatThrottleInterval: '50 milliseconds',
  });
  await worker.runUntil(async () => work(await start(link, input), comparison));
}

const start = (link: string, input: Partial<SweepInput>) =>
  server.env.client.workflow.start<typeof sweep>('sweep', {
    workflowId: sweepWorkflowId(link),
    taskQueue: link,
    args: [{ link, settleMs: 50, options: {}, ...input }],
  });

const isComparing = (comparison: Comparison, call: number) =>
  eventually(() => expect(comparison.requests).toHaveLength(call));

test('an attempt that fails while it is asked to stop does not end the sweep', async () => {
  const link = ulid();
  let calls = 0;
  const activities: Omit<SweepActivities, 'startSweep'> = {
    lastReached: async () => stateOf(7),
    async compareLink({ state }) {
      calls += 1;
      if (calls > 1) {
        expect(state).toEqual(stateOf(7));
        return { state: stateOf(calls), summary: SUMMARY };
      }
      const context = Context.current();
      const pulse = setInterval(() => context.heartbeat(stateOf(7)), 50);
      await context.cancelled.catch(() => {});
      clearInterval(pulse);
      throw ApplicationFailure.retryable('the source does not answer', 'SourceUnavailable');
    },
  };
  const worker = await Worker.create({
    connection: server.env.nativeConnection,
    taskQueue: link,
    workflowBundle: workflowBundle(),
    activities,
    maxHeartbeatThrottleInterval: '50 milliseconds',
    defaultHeartbeatThrottleInterval: '50 milliseconds',
  });
  await worker.runUntil(async () => {
    const handle = await start(link, {});
    await eventually(() => expect(calls).toBe(1));
    await handle.signal(pause);
    await eventually(async () => expect(await handle.query(progress)).toMatchObject({ state: 'paused' }));
    await handle.signal(resume);
    expect(await handle.result()).toMatchObject(SUMMARY);
    expect(calls).toBe(2);
  });
});

test('a pause ends the comparison where it is, and it goes on from there', async () => {
  await withSweep({ options: { match: 'user:*' } }, async (handle, comparison) => {
    await isComparing(comparison, 1);
    await handle.signal(pause);
    await eventually(async () => expect(await handle.query(progress)).toMatchObject({ state: 'paused', percent: 0 }));
    await handle.signal(resume);
    await isComparing(comparison, 2);
    comparison.end();
    expect(await handle.result()).toMatchObject({ ...SUMMARY, options: { match: 'user:*' } });
    expect(comparison.requests.map(({ state }) => state)).toEqual([undefined, stateOf(1)]);
    expect(await handle.query(progress)).toMatchObject({ state: 'done', percent: 100, compared: 10 });
    expect(await shownOf(handle)).toMatch(/^\*\*done\*\* · link \w+ · 100\.0 %$/m);
  });
});

test('another rate holds from now on, and one that can not be read changes nothing', async () => {
  await withSweep({ options: { rate: 5, repair: true } }, async (handle, comparison) => {
    await isComparing(comparison, 1);
    for (const nonsense of [{ keysPerSecond: -1 }, { keysPerSecond: 'fast' }]) await handle.signal('rate', nonsense);
    await handle.signal(rate, { keysPerSecond: 20_000 });
    await isComparing(comparison, 2);
    await handle.signal(rate, { keysPerSecond: null });
    await isComparing(comparison, 3);
    comparison.end();
    await handle.result();
    const rates = comparison.requests.map(({ options }) => options);
    expect(rates).toEqual([{ rate: 5, repair: true }, { rate: 20_000, repair: true }, { repair: true }]);
  });
});

test('what the comparison tells is the answer to `progress`, and a long run is followed by another', async () => {
  const { compared, differing, handedOver, repaired, unsettled, failed } = SUMMARY;
  const news = { percent: 40, etaSeconds: 7, compared, differing, handedOver, repaired, unsettled, failed };
  const keys = [{ key: '/w==', encoding: 'base64' as const }];
  await withSweep({ historyEventsPerRun: 30, options: { keys } }, async (handle, comparison) => {
    await isComparing(comparison, 1);
    const { startedAt } = await handle.query(progress);
    for (let word = 0; word < 30; word++) await handle.signal(reached, news);
    await isComparing(comparison, 2);
    const latest = server.env.client.workflow.getHandle(handle.workflowId);
    expect(await latest.query(progress)).toMatchObject({ ...news, startedAt, state: 'comparing', options: {} });
    await latest.signal(reached, { ...news, differing: { ...differing, missing: 3 }, handedOver: 3, repaired: 1 });
    expect((await shownOf(latest)).split('\n')).toEqual([
      `**comparing** · link ${handle.workflowId.slice(sweepWorkflowId('').length)} · 40.0 %, about 7 s left`,
      '',
      `- since: ${startedAt}`,
      '- keys compared: 10',
      '- differing: missing: 3',
      '- healed: 1 of 3 that batches have taken',
    ]);
    comparison.end();
    expect(await handle.result()).toMatchObject({ startedAt, options: {} });
    const [first, second] = comparison.requests;
    // Also the name that batches have of it: what was handed over is met there again.
    expect(second).toEqual({ ...first, state: stateOf(1) });
    expect(first!.sweepId).toBe(handle.firstExecutionRunId);
  });
});

test('a sweep that is cancelled ends', async () => {
  await withSweep({}, async (handle, comparison) => {
    await isComparing(comparison, 1);
    await handle.cancel();
    await expect(handle.result()).rejects.toThrow(/cancel/i);
    expect(comparison.requests).toHaveLength(1);
  });
});

test('one that is started by hand needs the name of its link alone, and passes over what is no word', async () => {
  await withSweep({ settleMs: undefined, options: undefined }, async (handle, comparison) => {
    await isComparing(comparison, 1);
    for (const nonsense of [null, {}, { percent: 'half' }, { percent: 5, differing: null }])
      await handle.signal('reached', nonsense);
    for (const nonsense of [null, {}, 5]) await handle.signal('rate', nonsense);
    expect(await handle.query(progress)).toMatchObject({ state: 'comparing', percent: 0 });
    comparison.end();
    expect(await handle.result()).toMatchObject({ outcome: 'equal', options: {} });
    expect(comparison.requests[0]).toMatchObject({ settleMs: 1_000, options: {} });
  });
});
