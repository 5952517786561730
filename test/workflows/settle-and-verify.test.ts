import { Context } from '@temporalio/activity';
import { describe, expect, it } from 'vitest';
import * as messages from '../../workflows/messages.js';
import { OUTLIVES_MS } from '../../workflows/settle.js';
import { until } from '../support/eventually.js';
import {
  describeTimeSkipping,
  failedWrite,
  giveUp,
  POLICY,
  Script,
  SLOW_POLICY,
  UNAVAILABLE,
  untilState,
  withScript,
} from '../support/workflow-bed.js';

await describeTimeSkipping('reconcileKey: settle and verify', (server) => {
  const { settleMs } = SLOW_POLICY;

  async function failedNow(changes: Parameters<typeof failedWrite>[0]): Promise<messages.FailedWrite> {
    return failedWrite({ failedAt: new Date(await server.env.currentTimeMs()).toISOString(), ...changes });
  }

  it.each([
    ['had written before, at whatever stage it failed, leads to a second look', true, 3],
    ['had only read does not', false, 2],
  ])('an attempt that %s', async (_what, wrote, attempts) => {
    const script = new Script(server.env, { fail: 'SourceUnavailable', stage: 'read', wrote }, 'equal');
    await withScript(script, async (start) => {
      await (await start({ events: [await failedNow({ outcome: 'unknown' })] })).result();
      expect(script.requests).toHaveLength(attempts);
    });
  });

  describe('settle', () => {
    it.each([
      { name: 'a write of unknown outcome', changes: { outcome: 'unknown' as const } },
      { name: 'a command that is not idempotent', changes: { idempotent: false } },
      { name: 'a record that says nothing about itself', changes: { outcome: undefined, command: undefined } },
    ])('is waited for after $name', async ({ changes }) => {
      const script = new Script(server.env, 'equal');
      await withScript(script, async (start) => {
        const event = await failedNow(changes);
        await (await start({ events: [event], policy: SLOW_POLICY })).result();
        expect(script.requests[0]!.at).toBeGreaterThanOrEqual(Date.parse(event.failedAt) + settleMs);
      });
    });

    it('is not waited for after an idempotent command that was refused', async () => {
      const script = new Script(server.env, 'equal');
      await withScript(script, async (start) => {
        const event = await failedNow({});
        await (await start({ events: [event], policy: SLOW_POLICY })).result();
        expect(script.requests[0]!.at).toBeLessThan(Date.parse(event.failedAt) + settleMs);
      });
    });

    it('starts at the failure, so that what has passed already is not waited for again', async () => {
      const script = new Script(server.env, 'equal');
      await withScript(script, async (start) => {
        const begun = await server.env.currentTimeMs();
        const event = failedWrite({ outcome: 'unknown', failedAt: new Date(begun - 3_600_000).toISOString() });
        await (await start({ events: [event], policy: SLOW_POLICY })).result();
        expect(script.requests[0]!.at).toBeLessThan(begun + settleMs);
      });
    });

    describe('by a bridge whose clock is behind', () => {
      async function readNow(): Promise<messages.FailedWrite> {
        const receivedAt = new Date((await server.env.currentTimeMs()) - 2 * settleMs).toISOString();
        return failedWrite({ outcome: 'unknown', receivedAt, receivedAgoMs: 0 });
      }

      it('is waited for after a write that comes while the key is reconciled', async () => {
        const script = new Script(server.env, 'equal');
        await withScript(script, async (start) => {
          let isTold = () => {};
          const told = new Promise<void>((resolve) => {
            isTold = resolve;
          });
          script.during = () => told;
          const handle = await start({ policy: SLOW_POLICY });
          await until(() => script.requests.length === 1);
          await handle.signal(messages.failedWrites, [await readNow()]);
          isTold();
          await handle.result();
          expect(script.pauses()).toEqual([10]);
        });
      });

      it('is waited for also where another signal has ended the delay of the start', async () => {
        const script = new Script(server.env, 'equal');
        await withScript(script, async (start) => {
          const begun = await server.env.currentTimeMs();
          await (await start({ events: [await readNow()], policy: SLOW_POLICY })).result();
          expect(script.requests.map(({ at }) => Math.round((at - begun) / 60_000))).toEqual([10]);
        });
      });
    });

    it('never lasts longer than configured, even when the clock of a producer runs ahead', async () => {
      const script = new Script(server.env, 'equal');
      await withScript(script, async (start) => {
        const begun = await server.env.currentTimeMs();
        const event = failedWrite({ outcome: 'unknown', failedAt: new Date(begun + 3_600_000).toISOString() });
        await (await start({ events: [event], policy: SLOW_POLICY })).result();
        expect(script.requests[0]!.at).toBeLessThan(begun + 2 * settleMs);
      });
    });
  });

  describe('a repair of a write whose outcome is unknown', () => {
    it('is compared again after settle until both sides are equal', async () => {
      const script = new Script(server.env, 'repaired', 'repaired', 'equal');
      await withScript(script, async (start) => {
        const event = await failedNow({ outcome: 'unknown' });
        const result = await (await start({ events: [event], policy: SLOW_POLICY })).result();
        expect(result).toEqual({ outcome: 'repaired', attempts: 3 });
        expect(script.pauses()).toEqual([10, 10]);
      });
    });

    it('is compared again also on a link that needs no time to settle', async () => {
      const script = new Script(server.env, 'repaired', 'equal');
      await withScript(script, async (start) => {
        const policy = { ...POLICY, settleMs: 0 };
        const result = await (await start({ events: [await failedNow({ outcome: 'unknown' })], policy })).result();
        expect(result).toEqual({ outcome: 'repaired', attempts: 2 });
      });
    });

    it('is done with the first attempt when that has compared again itself', async () => {
      const script = new Script(server.env, { reply: 'repaired', verified: true });
      await withScript(script, async (start) => {
        const handle = await start({ events: [await failedNow({ outcome: 'unknown' })] });
        expect(await handle.result()).toEqual({ outcome: 'repaired', attempts: 1 });
        expect(script.requests[0]!.request.verify).toEqual({ afterMs: POLICY.settleMs, always: true });
      });
    });

    it('that came in while the attempt verified gets an attempt that begins after it', async () => {
      const script = new Script(server.env, { reply: 'repaired', verified: true });
      await withScript(script, async (start) => {
        let second = false;
        const handle = await start({
          events: [await failedNow({ outcome: 'unknown', members: ['a'], command: 'SADD' })],
        });
        script.during = async () => {
          if (second) return;
          second = true;
          await handle.signal(messages.failedWrites, [
            await failedNow({ outcome: 'unknown', members: ['b'], command: 'SADD' }),
          ]);
        };
        expect(await handle.result()).toMatchObject({ outcome: 'repaired' });
        expect(script.requests.length).toBeGreaterThan(1);
        expect(script.requests.at(-1)!.request.hint.members.utf8).toContain('b');
      });
    });

    it.each([
      ['is asked of a first attempt alone', { ...POLICY }, [UNAVAILABLE, 'repaired', 'equal'], [true, false, true]],
      ['is asked of none where settle is long', { ...POLICY, settleMs: 2_001 }, ['repaired', 'equal'], [false, false]],
    ] as const)('%s', async (_what, policy, attempts, asked) => {
      const script = new Script(server.env, ...attempts);
      await withScript(script, async (start) => {
        await (await start({ events: [await failedNow({ outcome: 'unknown' })], policy })).result();
        expect(script.requests.map(({ request }) => request.verify !== undefined)).toEqual(asked);
      });
    });

    it('is asked of writes that were refused only for lists, and of none where nothing is ever verified', async () => {
      const script = new Script(server.env, 'repaired');
      await withScript(script, async (start) => {
        await (await start({ events: [await failedNow({})] })).result();
        await (await start({ events: [await failedNow({})], policy: { ...POLICY, verify: 'never' } })).result();
        expect(script.requests.map(({ request }) => request.verify?.always)).toEqual([false, undefined]);
      });
    });

    it('says that it is verifying while it waits', async () => {
      const script = new Script(server.env, 'repaired', 'equal');
      await withScript(script, async (start) => {
        const handle = await start({ events: [await failedNow({ outcome: 'unknown' })], policy: SLOW_POLICY });
        await untilState(server.env, handle, 'verifying', 60_000);
        await handle.result();
      });
    });

    it('is compared again when only the answer of the repair was lost', async () => {
      const lost = { fail: 'TargetUnavailable' } as const;
      const script = new Script(server.env, lost, 'equal', 'equal');
      await withScript(script, async (start) => {
        const event = await failedNow({ outcome: 'unknown' });
        const result = await (await start({ events: [event], policy: SLOW_POLICY })).result();
        expect(result).toEqual({ outcome: 'equal', attempts: 3 });
        expect(script.pauses()).toEqual([0, 10]);
      });
    });

    const READ = { fail: 'TargetUnavailable', stage: 'read' } as const;
    const WRITE = { fail: 'TargetUnavailable', stage: 'write' } as const;

    it('is compared again when an attempt may have written of which only the next one is heard', async () => {
      const script = new Script(server.env, READ, WRITE, 'equal');
      await withScript(script, async (start) => {
        const event = await failedNow({ outcome: 'unknown' });
        const result = await (await start({ events: [event], policy: SLOW_POLICY })).result();
        expect(result).toEqual({ outcome: 'equal', attempts: 4 });
        expect(script.pauses().at(-1)).toBeGreaterThanOrEqual(10);
      });
    });

    it('is compared again when the last attempt before the escalation failed to read, but one before it may have written', async () => {
      const script = new Script(server.env, READ, WRITE, READ, 'equal');
      const policy = { ...SLOW_POLICY, retry: { ...SLOW_POLICY.retry, maximumAttempts: 3 } };
      await withScript(script, async (start) => {
        const handle = await start({ events: [await failedNow({ outcome: 'unknown' })], policy });
        // In steps far shorter than `settle`, or that is over before anybody asks for the retry.
        await untilState(server.env, handle, 'escalated', 60_000);
        await handle.signal(messages.retry);
        expect(await handle.result()).toEqual({ outcome: 'equal', attempts: 5 });
      });
    });

    it('is compared again when a person ended the pause behind an attempt that may have written', async () => {
      const script = new Script(server.env, READ, WRITE, 'equal');
      const retry = { ...POLICY.retry, initialIntervalMs: 3_600_000, maximumIntervalMs: 3_600_000 };
      await withScript(script, async (start) => {
        const events = [await failedNow({ outcome: 'unknown' })];
        const handle = await start({ events, policy: { ...SLOW_POLICY, retry } });
        while (script.requests.length < 2) await server.env.sleep('1 minute');
        await handle.signal(messages.retry);
        expect(await handle.result()).toMatchObject({ outcome: 'equal' });
        expect(script.requests).toHaveLength(4);
      });
    });

    it('is no sign of contention when further writes failed meanwhile', async () => {
      const script = new Script(server.env, 'repaired');
      await withScript(script, async (start) => {
        const handle = await start({ events: [await failedNow({ outcome: 'unknown' })], policy: SLOW_POLICY });
        script.during = async (attempt) => {
          if (attempt < 12) await handle.signal(messages.failedWrites, [await failedNow({ outcome: 'unknown' })]);
          // Two repairs more: those that came before the last of the writes do not count.
          if (attempt === 14) script.attempts = ['equal'];
        };
        expect((await handle.result()).outcome).toBe('repaired');
        expect(script.requests.length).toBeGreaterThan(14);
        expect(script.escalations).toEqual([]);
      });
    });

    it('is looked at at a growing distance while it differs, for each look costs a workflow task', async () => {
      const script = new Script(server.env, 'repaired');
      await withScript(script, async (start) => {
        const handle = await start({ events: [await failedNow({ outcome: 'unknown' })] });
        await untilState(server.env, handle, 'escalated');
        const { events } = await handle.fetchHistory();
        const timers = events!.flatMap(({ timerStartedEventAttributes }) =>
          timerStartedEventAttributes ? [Number(timerStartedEventAttributes.startToFireTimeout!.seconds)] : [],
        );
        // The last one is of the slow retry.
        expect(timers.slice(-5, -1)).toEqual([2, 4, 4, 4]);
        await giveUp(handle);
      });
    });

    it('escalates as contended when it never holds', async () => {
      const script = new Script(server.env, 'repaired');
      await withScript(script, async (start) => {
        const handle = await start({ events: [await failedNow({ outcome: 'unknown' })] });
        const status = await untilState(server.env, handle, 'escalated');
        expect(status.lastError).toMatchObject({ type: 'Contended', stage: 'verify' });
        await giveUp(handle);
      });
    });

    it.each([
      { verify: 'never' as const, outcome: 'unknown' as const, attempts: 1 },
      { verify: 'always' as const, outcome: 'refused' as const, attempts: 2 },
      { verify: 'auto' as const, outcome: 'refused' as const, attempts: 1 },
    ])(
      'follows the link: verify $verify and outcome $outcome make $attempts attempts',
      async ({ verify, outcome, attempts }) => {
        const script = new Script(server.env, 'repaired', 'equal');
        await withScript(script, async (start) => {
          const handle = await start({ events: [await failedNow({ outcome })], policy: { ...SLOW_POLICY, verify } });
          expect(await handle.result()).toEqual({ outcome: 'repaired', attempts });
        });
      },
    );
  });

  describe('a repair behind which the value became large', () => {
    it.each([
      ['a write of unknown outcome', { outcome: 'unknown' as const }, {}],
      ['a write that was refused, where what was written asks for it', {}, { lookAgain: true }],
    ])('is one, and is compared again after settle: of %s', async (_what, changes, asks) => {
      const script = new Script(server.env, { reply: 'large', wrote: true, ...asks }, 'equal', 'equal');
      await withScript(script, async (start) => {
        const handle = await start({ events: [await failedNow(changes)], policy: SLOW_POLICY });
        expect(await handle.result()).toEqual({ outcome: 'repaired', attempts: 2 });
        expect(script.pauses().at(-1)).toBe(10);
      });
    });
  });

  describe('a repair of a write that was refused', () => {
    it('is compared again after settle when what it wrote asks for it, as a list does', async () => {
      const script = new Script(server.env, { reply: 'repaired', lookAgain: true }, 'equal');
      await withScript(script, async (start) => {
        const handle = await start({ events: [await failedNow({})], policy: SLOW_POLICY });
        expect(await handle.result()).toEqual({ outcome: 'repaired', attempts: 2 });
        expect(script.pauses()).toEqual([10]);
      });
    });

    it('is one also when only the next attempt could tell that the one before had written', async () => {
      const script = new Script(
        server.env,
        UNAVAILABLE,
        { reply: 'equal', earlier: 'wrote', lookAgain: true },
        'equal',
      );
      await withScript(script, async (start) => {
        const handle = await start({ events: [await failedNow({})], policy: SLOW_POLICY });
        expect(await handle.result()).toEqual({ outcome: 'repaired', attempts: 3 });
        expect(script.pauses().at(-1)).toBe(10);
      });
    });
  });

  it('an attempt that was made again, and had written the first time, is looked at again', async () => {
    const script = new Script(server.env, { reply: 'equal', earlier: 'wrote' }, 'equal');
    await withScript(script, async (start) => {
      const handle = await start({ events: [await failedNow({ outcome: 'unknown' })], policy: SLOW_POLICY });
      expect(await handle.result()).toEqual({ outcome: 'repaired', attempts: 2 });
      expect(script.pauses()).toEqual([10]);
    });
  });

  describe('an attempt that ended without a word', () => {
    const LONGER_THAN_IT_WRITES = { ...SLOW_POLICY, settleMs: 0 };

    it('is outlasted before the key counts as equal: a first one that hangs', async () => {
      const script = new Script(server.env, 'equal');
      script.during = async (attempt) => {
        if (attempt === 1) await Context.current().cancelled;
      };
      await withScript(script, async (start) => {
        const handle = await start({ events: [await failedNow({})], policy: LONGER_THAN_IT_WRITES });
        expect(await handle.result()).toEqual({ outcome: 'equal', attempts: 3 });
        const [first, , third] = script.requests;
        expect(third!.at - first!.at).toBeGreaterThanOrEqual(OUTLIVES_MS);
      });
    });

    it('is outlasted before the key counts as equal: one whose worker was lost', async () => {
      const script = new Script(server.env, UNAVAILABLE, { reply: 'equal', earlier: 'unknown' }, 'equal');
      await withScript(script, async (start) => {
        const handle = await start({ events: [await failedNow({})], policy: LONGER_THAN_IT_WRITES });
        expect(await handle.result()).toEqual({ outcome: 'equal', attempts: 3 });
        const [, second, third] = script.requests;
        expect(third!.at - second!.at).toBeGreaterThanOrEqual(OUTLIVES_MS - 1_000);
      });
    });
  });

  it('a repair is not forgotten when its round is interrupted behind it', async () => {
    const script = new Script(server.env, { defer: 3_600_000, wrote: true }, 'equal');
    await withScript(script, async (start) => {
      const handle = await start({ events: [await failedNow({})] });
      await untilState(server.env, handle, 'waiting');
      await handle.signal(messages.retry);
      expect(await handle.result()).toMatchObject({ outcome: 'repaired' });
    });
  });

  describe('of a cache', () => {
    const CACHE_POLICY = { ...SLOW_POLICY, looksTwice: true };

    it('is a look at once and another one when it has passed, whatever the first has found', async () => {
      const script = new Script(server.env, 'equal');
      await withScript(script, async (start) => {
        const event = await failedNow({ outcome: 'unknown' });
        expect(await (await start({ events: [event], policy: CACHE_POLICY })).result()).toMatchObject({
          outcome: 'equal',
        });
        expect(script.requests).toHaveLength(2);
        const [first, second] = script.requests;
        expect(first!.at).toBeLessThan(Date.parse(event.failedAt) + settleMs);
        expect(second!.at).toBeGreaterThanOrEqual(Date.parse(event.failedAt) + settleMs);
      });
    });

    it('goes on until a look that is so long behind the last delete finds nothing', async () => {
      const script = new Script(server.env, 'equal', 'repaired', 'equal');
      await withScript(script, async (start) => {
        const event = await failedNow({ outcome: 'unknown' });
        const handle = await start({ events: [event], policy: CACHE_POLICY });
        expect(await handle.result()).toMatchObject({ outcome: 'repaired' });
        expect(script.requests).toHaveLength(3);
        expect(script.requests[2]!.at - script.requests[1]!.at).toBeGreaterThanOrEqual(settleMs);
      });
    });

    it('is not waited for a second time when it has passed already', async () => {
      const script = new Script(server.env, 'equal');
      await withScript(script, async (start) => {
        const failedAt = new Date((await server.env.currentTimeMs()) - 2 * settleMs).toISOString();
        const event = await failedNow({ outcome: 'unknown', failedAt });
        await (await start({ events: [event], policy: CACHE_POLICY })).result();
        expect(script.requests).toHaveLength(1);
      });
    });
  });
});
