/** What letters that hang leave to others of a worker's slots, with real Temporal. */

import { randomUUID } from 'node:crypto';
import { pino } from 'pino';
import { expect, onTestFinished, test } from 'vitest';
import { createEscalationActivities } from '../../activities/escalation.js';
import { createNoticesActivities } from '../../activities/notices.js';
import { LETTERS_AT_ONCE } from '../../activities/slots.js';
import { publishingEscalations } from '../../src/worker/escalations.js';
import type { notices } from '../../workflows/notices.js';
import { happened, type News, type Notice } from '../../workflows/notices-messages.js';
import { until } from '../support/eventually.js';
import { failedWrite, onStack, Script, startKey, workerFor } from '../support/workflow-bed.js';

const server = onStack();
/** Of the worker, so few that a test fills them soon. */
const SLOTS = 3 * LETTERS_AT_ONCE;
const LINK = 'east-to-west';
const OUT: News = {
  kind: 'outage',
  shard: '10.0.0.1:6379',
  since: '2026-11-20T23:00:00.000Z',
  reason: 'no answer',
  until: null,
  keysWaiting: 1,
};

/** A worker whose dead letters take nothing before they are let. */
function bed() {
  const state = { escalated: 0, letGo: () => {} };
  const taking = new Promise<void>((resolve) => {
    state.letGo = resolve;
  });
  const sent: Notice[] = [];
  const publishEscalation = publishingEscalations({
    links: [LINK],
    deadLetters: { kind: 'topic', publish: () => taking, close: async () => {} },
    notify: async () => {},
    metrics: { escalated: () => void state.escalated++, deadLettered: () => {} },
    logger: pino({ level: 'silent' }),
  });
  const script = new Script(server.env, { fail: 'NoPermission', permanent: true });
  const activities = {
    ...createEscalationActivities({ links: new Map(), usableAttributes: async () => [], publishEscalation }),
    ...createNoticesActivities({
      send: async (notice) => {
        sent.push(notice);
        return 'taken';
      },
    }),
    reconcile: script.activities.reconcile,
  };
  return { state, sent, script, activities };
}

test('a message to the webhook and a durable attempt do not wait behind letters that hang', async () => {
  const { state, sent, script, activities } = bed();
  const { client } = server.env;
  const taskQueue = `letters-${randomUUID()}`;
  const worker = await workerFor(script, taskQueue, { activities, maxConcurrentActivityTaskExecutions: SLOTS });
  const handles: { terminate(): Promise<unknown> }[] = [];
  onTestFinished(async () => {
    await Promise.all(handles.map((handle) => handle.terminate().catch(() => {})));
  });
  await worker.runUntil(async () => {
    try {
      const count = SLOTS + 10;
      const start = (key: string) => startKey(client, taskQueue, { events: [failedWrite({ key })] });
      handles.push(...(await Promise.all(Array.from({ length: count }, (_, n) => start(`k${n}`)))));
      await until(() => state.escalated >= SLOTS && script.requests.length === count);

      script.attempts = ['large', 'equal'];
      const large = await start('large');
      const told = await client.workflow.signalWithStart<typeof notices, [readonly News[]]>('notices', {
        workflowId: taskQueue,
        taskQueue,
        args: [{ link: LINK, gatherMs: 0 }],
        signal: happened,
        signalArgs: [[OUT]],
      });
      handles.push(large, told);
      expect(await large.result()).toMatchObject({ outcome: 'equal' });
      await told.result();
      expect(sent).toMatchObject([{ kind: 'outage' }]);
    } finally {
      state.letGo();
    }
  });
});
