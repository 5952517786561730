/** The workflow `outage`, with scripted answers of the server, on a clock that is skipped. */
import { randomUUID } from 'node:crypto';
import { ApplicationFailure } from '@temporalio/common';
import { Worker } from '@temporalio/worker';
import { expect, it } from 'vitest';
import type { outage } from '../../workflows/outage.js';
import { noticed, type OutageActivities, type OutageStatus, status } from '../../workflows/outage-messages.js';
import { describeTimeSkipping, workflowBundle } from '../support/workflow-bed.js';

const SINCE = '2026-11-20T23:00:00.000Z';

await describeTimeSkipping('outage: a server of the target that does not answer', (server) => {
  /** @param out whether it does not answer, each time that it is asked */
  async function withOutage(
    out: (ask: number) => boolean,
    work: (handle: Awaited<ReturnType<typeof start>>, told: OutageStatus[]) => Promise<void>,
  ): Promise<void> {
    const taskQueue = `outage-${randomUUID()}`;
    const told: OutageStatus[] = [];
    let asked = 0;
    const activities: OutageActivities = {
      answers: async () => {
        if (out(++asked)) throw ApplicationFailure.retryable('no answer in time', 'TargetUnavailable');
      },
      announce: async (now) => {
        told.push(now);
      },
    };
    const worker = await Worker.create({
      connection: server.env.nativeConnection,
      taskQueue,
      workflowBundle: workflowBundle(),
      activities,
    });
    await worker.runUntil(async () => work(await start(taskQueue), told));
  }

  const start = (taskQueue: string) =>
    server.env.client.workflow.signalWithStart<typeof outage, [{ worker: string; keysWaiting: number }]>('outage', {
      workflowId: `keymend/outage/${taskQueue}`,
      taskQueue,
      args: [{ link: 'east-to-west', shard: '10.0.0.1:6379', since: SINCE, reason: 'no answer in time' }],
      signal: noticed,
      signalArgs: [{ worker: 'one', keysWaiting: 3 }],
    });

  it('is told of at its beginning and at its end, and once each', async () => {
    await withOutage(
      (ask) => ask <= 20,
      async (handle, told) => {
        const ended = await handle.result();
        expect(ended).toMatchObject({ link: 'east-to-west', shard: '10.0.0.1:6379', since: SINCE, keysWaiting: 3 });
        expect(told).toEqual([{ ...ended, until: null }, ended]);
        expect(Date.parse(ended.until!)).toBeGreaterThan(Date.parse(SINCE));
      },
    );
  });

  it('costs no event for as long as it lasts', async () => {
    const events = async (asks: number) => {
      let count = 0;
      await withOutage(
        (ask) => ask <= asks,
        async (handle) => {
          await handle.result();
          count = (await handle.fetchHistory()).events!.length;
        },
      );
      return count;
    };
    expect(await events(200)).toBe(await events(2));
  });

  it('sums the keys of all workers, of each the last word, and passes over what is no word', async () => {
    let isOut = true;
    await withOutage(
      () => isOut,
      async (handle) => {
        await handle.signal(noticed, { worker: 'other', keysWaiting: 10 });
        await handle.signal(noticed, { worker: 'one', keysWaiting: 5 });
        for (const nonsense of [undefined, null, {}, { worker: 'third', keysWaiting: 'many' }])
          await handle.signal('noticed', nonsense);
        expect(await handle.query<OutageStatus>(status)).toMatchObject({ keysWaiting: 15, until: null });
        isOut = false;
        expect((await handle.result()).keysWaiting).toBe(15);
      },
    );
  });
});
