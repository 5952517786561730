/** The workflow `outage`, with scripted answers of the server. */
import { randomUUID } from 'node:crypto';
import { activityInfo } from '@temporalio/activity';
import type { WorkflowHandle } from '@temporalio/client';
import { ApplicationFailure } from '@temporalio/common';
import type { TestWorkflowEnvironment } from '@temporalio/testing';
import { Worker } from '@temporalio/worker';
import { describe, expect, it } from 'vitest';
import type { outage } from '../../workflows/outage.js';
import {
  noticed,
  type OutageActivities,
  type OutageReport,
  type OutageStatus,
  status,
} from '../../workflows/outage-messages.js';
import { until } from '../support/eventually.js';
import { describeTimeSkipping, onStack, shownOf, workflowBundle } from '../support/workflow-bed.js';

const SINCE = '2026-11-20T23:00:00.000Z';

interface Server {
  readonly env: TestWorkflowEnvironment;
}

/** @param out whether it does not answer, each time that it is asked */
async function withOutage(
  { env }: Server,
  out: (ask: number) => boolean,
  work: (handle: WorkflowHandle<typeof outage>, told: OutageStatus[], toldBy: string[]) => Promise<void>,
  notify?: (now: OutageStatus) => void,
  wish: OutageReport['notify'] = notify && 'now',
  log: () => void = () => {},
): Promise<void> {
  const taskQueue = `outage-${randomUUID()}`;
  const told: OutageStatus[] = [];
  const toldBy: string[] = [];
  let asked = 0;
  const activities: OutageActivities = {
    answers: async () => {
      if (out(++asked)) throw ApplicationFailure.retryable('no answer in time', 'TargetUnavailable');
    },
    announce: async (now) => {
      log();
      told.push(now);
      toldBy.push(activityInfo().workflowExecution!.runId);
    },
    notifyOutage: async (now) => {
      notify?.(now);
    },
  };
  const connection = env.nativeConnection;
  const worker = await Worker.create({ connection, taskQueue, workflowBundle: workflowBundle(), activities });
  await worker.runUntil(async () => {
    const { workflowId } = await env.client.workflow.signalWithStart<typeof outage, [OutageReport]>('outage', {
      workflowId: `keymend/outage/${taskQueue}`,
      taskQueue,
      args: [
        {
          link: 'east-to-west',
          shard: '10.0.0.1:6379',
          since: SINCE,
          reason: 'no answer in time',
          ...(wish === 'now' && { notify: true }),
        },
      ],
      signal: noticed,
      signalArgs: [{ worker: 'one', keysWaiting: 3, notify: wish }],
    });
    await work(env.client.workflow.getHandle<typeof outage>(workflowId), told, toldBy);
  });
}

await describeTimeSkipping('outage: a server of the target that does not answer', (server) => {
  it('is told of at its beginning and at its end, and once each', async () => {
    await withOutage(
      server,
      (ask) => ask <= 20,
      async (handle, told) => {
        const ended = await handle.result();
        expect(ended).toMatchObject({ link: 'east-to-west', shard: '10.0.0.1:6379', since: SINCE, keysWaiting: 3 });
        expect(told).toEqual([{ ...ended, until: null }, ended]);
        expect(Date.parse(ended.until!)).toBeGreaterThan(Date.parse(SINCE));
      },
    );
  });

  it('ends where somebody cancels it', async () => {
    await withOutage(
      server,
      () => true,
      async (handle) => {
        await until(async () => (await handle.query<OutageStatus>(status)).keysWaiting === 3);
        await handle.cancel();
        await expect(handle.result()).rejects.toThrow('cancelled');
        expect((await handle.describe()).status.name).toBe('CANCELLED');
      },
    );
  });

  it('ends where no worker knows its link any more, and says so', async () => {
    await withOutage(
      server,
      () => {
        throw ApplicationFailure.create({ type: 'UnknownLink', message: 'no such link', nonRetryable: true });
      },
      async (handle, told) => {
        const ended = await handle.result();
        expect(ended).toMatchObject({ isRemoved: true, until: expect.any(String) });
        expect(told.slice(1)).toEqual([ended]);
      },
    );
  });

  it('costs no event for as long as it lasts', async () => {
    const events = async (asks: number) => {
      let count = 0;
      await withOutage(
        server,
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
      server,
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

  it('shows since when the server is out, why, and about how many keys wait, also when it is over', async () => {
    let isOut = true;
    await withOutage(
      server,
      () => isOut,
      async (handle) => {
        const why = `- has not answered since: ${SINCE} (no answer in time)`;
        await until(async () => (await handle.query<OutageStatus>(status)).keysWaiting === 3);
        expect((await shownOf(handle)).split('\n')).toEqual([
          '**out** · link east-to-west · shard 10\\.0.0.1\\:6379',
          '',
          why,
          '- keys that wait, about: 3',
          '',
          expect.stringContaining('**Next step:** see why this server is away.'),
        ]);
        isOut = false;
        const { until: answeredAt } = await handle.result();
        expect((await shownOf(handle)).split('\n')).toEqual([
          '**over** · link east-to-west · shard 10\\.0.0.1\\:6379',
          '',
          why,
          `- answers again since: ${answeredAt}`,
          '- keys that waited, about: 3',
        ]);
      },
    );
  });
});

await describeTimeSkipping('outage: the webhook of the link', (server) => {
  it('is told of the beginning and of the end', async () => {
    const notified: OutageStatus[] = [];
    await withOutage(
      server,
      (ask) => ask <= 3,
      async (handle, told) => {
        await handle.result();
        expect(notified).toEqual(told);
        expect(notified.map(({ until }) => until === null)).toEqual([true, false]);
      },
      (now) => notified.push(now),
    );
  });

  it('is told of one that a further word has opened, once it has lasted for a minute', async () => {
    const notified = async (asks: number) => {
      const told: OutageStatus[] = [];
      await withOutage(
        server,
        (ask) => ask <= asks,
        async (handle) => {
          await handle.result();
        },
        (now) => told.push(now),
        'when-long',
      );
      return told.map(({ until }) => until === null);
    };
    // It is asked again after 1, 2, 4, 8 and then 10 seconds.
    expect(await notified(5)).toEqual([]);
    expect(await notified(20)).toEqual([true, false]);
  });

  it('is told at once when a worker notices that meets a silent one', async () => {
    let isOut = true;
    const notified: OutageStatus[] = [];
    await withOutage(
      server,
      () => isOut,
      async (handle) => {
        await handle.signal(noticed, { worker: 'other', keysWaiting: 1, notify: 'now' });
        await until(async () => notified.length === 1);
        await handle.signal(noticed, { worker: 'third', keysWaiting: 1, notify: 'now' });
        isOut = false;
        await handle.result();
        expect(notified.map(({ until }) => until === null)).toEqual([true, false]);
      },
      (now) => notified.push(now),
      'when-long',
    );
  });

  it('is told of the end also where no worker gets a line into its log', async () => {
    const notified: OutageStatus[] = [];
    await withOutage(
      server,
      (ask) => ask <= 3,
      async (handle, told) => {
        expect((await handle.result()).until).not.toBeNull();
        expect(told).toEqual([]);
        expect(notified.map(({ until }) => until === null)).toEqual([true, false]);
      },
      (now) => notified.push(now),
      'now',
      () => {
        throw new Error('it stands still');
      },
    );
  });

  it('that can not be told holds up nothing', async () => {
    let tries = 0;
    await withOutage(
      server,
      (ask) => ask <= 3,
      async (handle, told) => {
        expect((await handle.result()).until).not.toBeNull();
        expect(told).toHaveLength(2);
        expect(tries).toBeGreaterThan(4);
      },
      () => {
        tries += 1;
        throw new Error('Temporal does not take signals');
      },
    );
  });
});

describe('outage', () => {
  const server = onStack();

  it('that outlasts its history goes on in another run, which knows all and announces nothing anew', async () => {
    let isOut = true;
    await withOutage(
      server,
      () => isOut,
      async (handle, told, toldBy) => {
        const { runId } = await handle.describe();
        const isAnotherRun = async () => (await handle.describe()).runId !== runId;
        // The server suggests another run by the bytes of a history, from 4 MiB on. No more than
        // that: where a history has many times as much it ends the run.
        // One after the other: what a task has not taken yet may have 2 MB.
        const padding = 'x'.repeat(500_000);
        for (let keysWaiting = 1; keysWaiting <= 10; keysWaiting++) {
          await handle.signal('noticed', { worker: 'other', keysWaiting, padding });
          await until(async () => (await handle.query<OutageStatus>(status)).keysWaiting === 3 + keysWaiting);
        }
        await until(isAnotherRun);
        const { keysWaiting, until: over, ...known } = await handle.query<OutageStatus>(status);
        expect([keysWaiting, over]).toEqual([13, null]);
        isOut = false;
        const ended = await handle.result();
        expect(ended).toMatchObject({ ...known, since: SINCE, keysWaiting: 13 });
        // A task that is tried again tells again.
        const toldIn = (isFirst: boolean) => told.filter((_, n) => (toldBy[n] === runId) === isFirst);
        expect(new Set(toldIn(true).map(({ until }) => until))).toEqual(new Set([null]));
        expect(new Set(toldIn(false).map(({ until }) => until))).toEqual(new Set([ended.until]));
      },
    );
  });
});
