/** The workflow `notices`, with a scripted webhook. */
import { randomUUID } from 'node:crypto';
import { ApplicationFailure } from '@temporalio/common';
import { Worker } from '@temporalio/worker';
import { expect, it } from 'vitest';
import { createNoticesActivities } from '../../activities/notices.js';
import type { notices } from '../../workflows/notices.js';
import {
  happened,
  type News,
  type Notice,
  type NoticesActivities,
  retry,
  status,
} from '../../workflows/notices-messages.js';
import { until } from '../support/eventually.js';
import { onStack, shownOf, workflowBundle } from '../support/workflow-bed.js';

const server = onStack();

const ESCALATED: News = {
  kind: 'escalations',
  errorType: 'Contended',
  keys: 1,
  firstAt: '2026-11-20T23:00:00.000Z',
  lastAt: '2026-11-20T23:00:00.000Z',
  examples: ['k'],
};
const OUT: News = {
  kind: 'outage',
  shard: '10.0.0.1:6379',
  since: '2026-11-20T23:00:00.000Z',
  reason: 'no answer',
  until: null,
  keysWaiting: 1,
};

async function bed(gatherMs: number, replaced: Partial<NoticesActivities> = {}) {
  const { client, nativeConnection: connection } = server.env;
  const taskQueue = `notices-${randomUUID()}`;
  const sent: Notice[] = [];
  let refusal: string | null = null;
  const activities: NoticesActivities = {
    async sendNotice(notice) {
      if (refusal !== null) throw ApplicationFailure.retryable(refusal, 'WebhookFailed');
      sent.push(notice);
      return undefined;
    },
    ...replaced,
  };
  const worker = await Worker.create({ connection, taskQueue, workflowBundle: workflowBundle(), activities });
  const tell = (...news: News[]) =>
    client.workflow.signalWithStart<typeof notices, [readonly News[]]>('notices', {
      workflowId: taskQueue,
      taskQueue,
      args: [{ link: 'east', gatherMs }],
      signal: happened,
      signalArgs: [news],
    });
  const refuse = (line: string | null) => {
    refusal = line;
  };
  return { worker, sent, tell, refuse, handle: client.workflow.getHandle<typeof notices>(taskQueue) };
}

it('many signals are one message, and it ends when nothing is left to tell', async () => {
  const { worker, sent, tell, handle } = await bed(3_600_000);
  await worker.runUntil(async () => {
    await Promise.all(Array.from({ length: 20 }, () => tell(ESCALATED)));
    await handle.signal(retry);
    const { sent: count, failing } = await handle.result();
    expect([count, failing]).toEqual([1, null]);
    expect(sent).toMatchObject([{ link: 'east', errorType: 'Contended', keys: 20, id: expect.stringMatching(/\/1$/) }]);
  });
});

it('an outage is told at once, while escalations are still gathered', async () => {
  const { worker, sent, tell, handle } = await bed(3_600_000);
  await worker.runUntil(async () => {
    await tell(ESCALATED);
    await tell(OUT);
    await until(() => sent.length === 1);
    expect(sent).toMatchObject([{ kind: 'outage', shard: '10.0.0.1:6379' }]);
    expect(await handle.query(status)).toMatchObject({ waiting: [ESCALATED], sent: 1 });
    await handle.signal(retry);
    await handle.result();
    expect(sent).toHaveLength(2);
  });
});

it('what the webhook does not take waits, gathered, and shows why; `retry` sends it at once', async () => {
  const { worker, sent, tell, refuse, handle } = await bed(100);
  refuse('the webhook at hooks.example answers 500');
  await worker.runUntil(async () => {
    await tell(ESCALATED);
    await until(async () => (await handle.query(status)).failing !== null);
    const { failing, nextTry } = await handle.query(status);
    expect(failing!.reason).toBe('the webhook at hooks.example answers 500');
    expect(Date.parse(nextTry!)).toBeGreaterThan(Date.parse(failing!.since));
    expect((await shownOf(handle)).split('\n')).toEqual([
      `**The webhook takes nothing** since ${failing!.since}: the webhook at hooks.example answers 500`,
      '',
      expect.stringMatching(/^\*\*Next step:\*\* mend it, then send the signal `retry`/),
      '',
      '- link: east',
      '- to be told: 1 escalated with Contended',
      `- next message: ${nextTry}`,
      '- messages sent: 0',
    ]);
    await tell(ESCALATED, { ...ESCALATED, errorType: 'NoPermission' });
    refuse(null);
    await handle.signal(retry);
    const { lastSentAt } = await handle.result();
    expect(await shownOf(handle)).toContain(`- messages sent: 2, the last at ${lastSentAt}`);
    expect(sent).toMatchObject([
      { errorType: 'NoPermission', keys: 1 },
      { errorType: 'Contended', keys: 2 },
    ]);
    await Worker.runReplayHistory({ workflowBundle: workflowBundle() }, await handle.fetchHistory());
  });
});

it('a worker without the webhook leaves the message to another one', async () => {
  const asked: (number | undefined)[] = [];
  const first = createNoticesActivities({ send: async () => 'no-webhook' });
  const { worker, tell, handle } = await bed(1, {
    sendNotice(notice, noWebhookSince) {
      asked.push(noWebhookSince);
      return first.sendNotice(notice, noWebhookSince);
    },
  });
  await worker.runUntil(async () => {
    await tell(ESCALATED);
    await until(async () => (await handle.query(status)).failing !== null);
    const { waiting, failing } = await handle.query(status);
    expect(waiting).toEqual([ESCALATED]);
    expect(failing!.reason).toMatch(/^link "east" has no webhook in the configuration of this worker; another/);
    expect(asked).toEqual(Array(4).fill(undefined));
    await handle.signal(retry);
    await until(() => asked.length === 5);
    expect(asked[4]).toBe(Date.parse(failing!.since));
  });
  const second = await Worker.create({
    connection: server.env.nativeConnection,
    taskQueue: handle.workflowId,
    workflowBundle: workflowBundle(),
    activities: createNoticesActivities({ send: async () => 'taken' }),
  });
  expect(await second.runUntil(handle.result())).toMatchObject({ sent: 1, failing: null });
});

it('what no worker has had a webhook for any more is left out, and not counted as sent', async () => {
  const left = createNoticesActivities({ send: async () => 'no-webhook' });
  const { worker, tell, handle } = await bed(1, {
    sendNotice: (notice, since) => left.sendNotice(notice, since && since - 600_000),
  });
  await worker.runUntil(async () => {
    await tell(ESCALATED);
    await until(async () => (await handle.query(status)).failing !== null);
    await handle.signal(retry);
    expect(await handle.result()).toMatchObject({ sent: 0, lastSentAt: null, waiting: [] });
  });
});

it('what cannot be read is left out', async () => {
  const { worker, sent, tell, handle } = await bed(1);
  await worker.runUntil(async () => {
    await tell({ kind: 'other' } as never, null as never, ESCALATED);
    await handle.result();
    expect(sent).toHaveLength(1);
  });
});
