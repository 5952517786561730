/** What was asked of a key just as something else came to its end. */
import { randomUUID } from 'node:crypto';
import { CompleteAsyncError, Context } from '@temporalio/activity';
import { expect, it } from 'vitest';
import * as messages from '../../workflows/messages.js';
import { until } from '../support/eventually.js';
import {
  describeTimeSkipping,
  failedWrite,
  giveUp,
  Script,
  SLOW_POLICY,
  startKey,
  UNAVAILABLE,
  untilState,
  withScript,
  workerFor,
} from '../support/workflow-bed.js';

const PERMANENT = { fail: 'NoPermission', permanent: true } as const;
/** An attempt that is not heard of for 10 s counts as dead. */
const HEARTBEAT_INTERVAL_MS = 1_000;

await describeTimeSkipping('reconcileKey: an interruption', (server) => {
  it('that comes together with the end of an attempt finds the key done', async () => {
    const { client } = server.env;
    const script = new Script(server.env, UNAVAILABLE, 'repaired');
    let token: Uint8Array | undefined;
    const reconcile = script.activities.reconcile;
    script.activities.reconcile = async (request) => {
      const reply = await reconcile(request);
      if (Context.current().info.isLocal) return reply;
      token = Context.current().info.taskToken;
      throw new CompleteAsyncError();
    };
    const taskQueue = `script-${randomUUID()}`;
    // Nothing of the workflow may wait for this worker once it is gone.
    const first = await workerFor(script, taskQueue, { maxCachedWorkflows: 0 });
    const beating = setInterval(() => token && client.activity.heartbeat(token).catch(() => {}), HEARTBEAT_INTERVAL_MS);
    const handle = await first.runUntil(async () => {
      const started = await startKey(client, taskQueue);
      await until(() => token !== undefined);
      return started;
    });
    clearInterval(beating);
    await client.activity.complete(token!, { outcome: 'repaired', summary: 'repaired', attempt: 1 });
    await handle.signal(messages.retry);
    const second = await workerFor(script, taskQueue);
    expect(await second.runUntil(handle.result())).toEqual({ outcome: 'repaired', attempts: 2 });
    expect(script.requests).toHaveLength(2);
  });

  it('that ends an escalation also ends the wait of its dead letter for Kafka', async () => {
    const script = new Script(server.env, PERMANENT, 'repaired', 'equal');
    const publish = script.activities.escalate;
    let isAway = true;
    let refusals = 0;
    script.activities.escalate = async (request) => {
      if (!isAway) return publish(request);
      refusals += 1;
      throw new Error('Kafka is away');
    };
    await withScript(script, async (start) => {
      const handle = await start({ events: [failedWrite({ outcome: 'unknown' })], policy: SLOW_POLICY });
      await untilState(server.env, handle, 'escalated');
      await until(() => refusals > 0);
      await handle.signal(messages.retry);
      await untilState(server.env, handle, 'verifying');
      isAway = false;
      // Meanwhile `settle` passes: far more than lies between two attempts to publish.
      expect(await handle.result()).toMatchObject({ outcome: 'repaired' });
      expect(script.escalations).toEqual([]);
    });
  });

  it('by who asks a key that then escalates is answered by its error', async () => {
    const script = new Script(server.env, UNAVAILABLE);
    await withScript(script, async (start) => {
      const handle = await start({ policy: SLOW_POLICY });
      await until(() => script.requests.length > 1);
      const answer = handle.executeUpdate(messages.reconcileNow, { args: [{}] }).catch((error: unknown) => error);
      // Asked for, it is attempted once more, locally.
      await until(() => script.requests.filter(({ isLocal }) => isLocal).length > 1);
      await untilState(server.env, handle, 'escalated', SLOW_POLICY.retry.initialIntervalMs);
      await giveUp(handle);
      expect(await answer).toMatchObject({ cause: { type: 'TargetUnavailable' } });
    });
  });
});
