import { setTimeout as sleep } from 'node:timers/promises';
import { expect, it } from 'vitest';
import * as messages from '../../workflows/messages.js';
import {
  describeTimeSkipping,
  failedWrite,
  giveUp,
  type Handle,
  POLICY,
  Script,
  SLOW_POLICY,
  UNAVAILABLE,
  untilState,
  withScript,
} from '../support/workflow-bed.js';

await describeTimeSkipping('reconcileKey: a key that the budget defers', (server) => {
  const LONG = { defer: 3_600_000 } as const;

  async function untilEscalated(script: Script, handle: Handle): Promise<messages.KeyStatus> {
    while (script.escalations.length === 0) await server.env.sleep('10 minutes');
    return untilState(server.env, handle, 'escalated');
  }

  it('comes back locally when it was told to, and that is no attempt', async () => {
    const script = new Script(server.env, { defer: 5 * 60_000 }, { defer: 2 * 60_000 }, 'repaired');
    await withScript(script, async (start) => {
      const handle = await start();
      expect(await handle.result()).toEqual({ outcome: 'repaired', attempts: 1 });
      expect(script.requests.map(({ isLocal }) => isLocal)).toEqual([true, true, true]);
      expect(script.pauses()).toEqual([5, 2]);
    });
  });

  it('says when it comes back, and is not escalated, however often it is deferred', async () => {
    const script = new Script(server.env, { defer: 60_000 });
    await withScript(script, async (start) => {
      const handle = await start();
      const status = await untilState(server.env, handle, 'waiting');
      expect(status).toMatchObject({ attempts: 0, pending: 1, lastError: null });
      expect(status.nextRetry).not.toBeNull();
      while (script.requests.length < 3 * POLICY.retry.maximumAttempts) await server.env.sleep(60_000);
      expect(script.escalations).toEqual([]);
      script.attempts = ['equal'];
      expect(await handle.result()).toEqual({ outcome: 'equal', attempts: 1 });
    });
  });

  const OUT = { defer: 60_000, outage: { shard: '10.0.0.1:6379', since: '2026-11-20T23:00:00.000Z' } } as const;

  it('for a server that does not answer says which one, until it goes on', async () => {
    const script = new Script(server.env, OUT, { defer: 60_000 }, 'equal');
    await withScript(script, async (start) => {
      const handle = await start();
      expect(await untilState(server.env, handle, 'waiting')).toMatchObject({ outage: OUT.outage, attempts: 0 });
      while (script.requests.length < 2) await server.env.sleep(10_000);
      expect(await untilState(server.env, handle, 'waiting')).toMatchObject({ outage: null });
      expect(await handle.result()).toEqual({ outcome: 'equal', attempts: 1 });
    });
  });

  it('answers who asks for it while its server is out, and is reconciled later all the same', async () => {
    const script = new Script(server.env, OUT);
    await withScript(script, async (start) => {
      const handle = await start();
      await untilState(server.env, handle, 'waiting');
      const asked = await handle.executeUpdate(messages.reconcileNow, { args: [{}] }).catch((error) => error);
      expect(asked.cause).toMatchObject({
        type: 'TargetUnavailable',
        message: expect.stringContaining('10.0.0.1:6379'),
      });
      script.attempts = ['repaired'];
      expect(await handle.result()).toEqual({ outcome: 'repaired', attempts: 1 });
    });
  });

  it('heals behind ten minutes of outage, and has used no attempt until then', async () => {
    const script = new Script(server.env, ...Array.from({ length: 10 }, () => OUT), 'repaired');
    await withScript(script, async (start) => {
      const handle = await start();
      expect(await handle.result()).toEqual({ outcome: 'repaired', attempts: 1 });
      expect(script.pauses()).toEqual(Array.from({ length: 10 }, () => 1));
      expect(script.escalations).toEqual([]);
    });
  });

  it('still gets every attempt of its policy when they fail after a long wait', async () => {
    const script = new Script(server.env, LONG, UNAVAILABLE);
    await withScript(script, async (start) => {
      const handle = await start({ policy: SLOW_POLICY });
      expect((await untilEscalated(script, handle)).attempts).toBe(POLICY.retry.maximumAttempts);
      await giveUp(handle);
    });
  });

  it('in the midst of its durable attempts goes on with those that are left', async () => {
    const script = new Script(server.env, UNAVAILABLE, UNAVAILABLE, UNAVAILABLE, LONG, UNAVAILABLE);
    await withScript(script, async (start) => {
      const handle = await start({ policy: SLOW_POLICY });
      const { attempts } = await untilEscalated(script, handle);
      expect(attempts).toBeGreaterThanOrEqual(POLICY.retry.maximumAttempts - 1);
      expect(attempts).toBeLessThanOrEqual(POLICY.retry.maximumAttempts + 1);
      await giveUp(handle);
    });
  });

  it('is not given up on for the time that it took to find out that it has to wait', async () => {
    const script = new Script(server.env, UNAVAILABLE, OUT, OUT, OUT, OUT, OUT, UNAVAILABLE, 'repaired');
    // One attempt is left behind 6 s of trying; a local one has 5 s, its way included.
    script.during = (attempt) => (attempt >= 3 && attempt <= 6 ? sleep(2_000) : undefined);
    const retry = { maximumAttempts: 2, initialIntervalMs: 6_000, backoffCoefficient: 1, maximumIntervalMs: 6_000 };
    await withScript(script, async (start) => {
      const handle = await start({ policy: { ...POLICY, retry } });
      await handle.result();
      expect(script.escalations).toEqual([]);
    });
  });

  it('after it wrote is compared again before it counts as verified', async () => {
    const script = new Script(server.env, { defer: 10, wrote: true }, 'equal', 'equal');
    await withScript(script, async (start) => {
      const handle = await start({ events: [failedWrite({ outcome: 'unknown' })], policy: SLOW_POLICY });
      expect(await handle.result()).toEqual({ outcome: 'repaired', attempts: 2 });
    });
  });

  it('without having written needs no comparison beyond the one that finds it equal', async () => {
    const script = new Script(server.env, { defer: 10 }, 'equal');
    await withScript(script, async (start) => {
      const handle = await start({ events: [failedWrite({ outcome: 'unknown' })] });
      expect(await handle.result()).toEqual({ outcome: 'equal', attempts: 1 });
    });
  });

  it('is attempted at once when a person asks for it', async () => {
    const script = new Script(server.env, LONG, 'repaired');
    await withScript(script, async (start) => {
      const handle = await start();
      await untilState(server.env, handle, 'waiting');
      await handle.signal(messages.retry);
      expect(await handle.result()).toEqual({ outcome: 'repaired', attempts: 1 });
      expect(script.pauses()[0]).toBeLessThan(60);
    });
  });

  it('can be skipped meanwhile', async () => {
    const script = new Script(server.env, LONG);
    await withScript(script, async (start) => {
      const handle = await start();
      await untilState(server.env, handle, 'waiting');
      await handle.signal(messages.skip, { reason: 'not worth it' });
      expect(await handle.result()).toEqual({ outcome: 'skipped', attempts: 0, skipReason: 'not worth it' });
    });
  });

  it('continues as new meanwhile when its history has grown long', async () => {
    const script = new Script(server.env, LONG);
    await withScript(script, async (start) => {
      const handle = await start({ historyEventsPerRun: 30 });
      const { runId } = await handle.describe();
      await untilState(server.env, handle, 'waiting');
      for (let i = 0; i < 40; i++) await handle.signal(messages.failedWrites, [failedWrite()]);
      script.attempts = ['equal'];
      const latest = server.env.client.workflow.getHandle(handle.workflowId);
      expect(await latest.result()).toMatchObject({ outcome: 'equal' });
      expect((await latest.describe()).runId).not.toBe(runId);
    });
  });
});
