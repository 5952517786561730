/** The workflow `redrive`, over a scripted store of letters, each of a key of its own. */
import { ApplicationFailure } from '@temporalio/common';
import { Worker } from '@temporalio/worker';
import { ulid } from 'ulid';
import { expect, test } from 'vitest';
import type { redrive } from '../../workflows/redrive.js';
import {
  type CloseLettersRequest,
  NOTHING_REDRIVEN,
  pause,
  progress,
  REDRIVE_ID_PREFIX,
  type RedriveActivities,
  type RedriveInput,
  type RedriveResult,
  rate,
  resume,
  type TryLettersRequest,
} from '../../workflows/redrive-messages.js';
import { eventually, until } from '../support/eventually.js';
import { describeTimeSkipping, shownOf, workflowBundle } from '../support/workflow-bed.js';

/** Letters `1` to `count`. */
class Letters {
  readonly tried: TryLettersRequest[] = [];
  readonly closed: CloseLettersRequest[] = [];
  readonly #gone = new Set<string>();
  /** Runs in each try, before it ends. */
  during: (attempt: number) => Promise<void> | void = () => {};
  fails: (letter: number) => boolean = () => false;
  /** Its server does not answer. */
  waits: (letter: number) => boolean = () => false;

  constructor(readonly count: number) {}

  readonly activities: RedriveActivities = {
    tryLetters: async (request) => {
      this.tried.push(request);
      await this.during(this.tried.length);
      const first = Number(request.passed['0'] ?? 0) + 1;
      const last = Math.min(this.count, first + Math.min(request.mostKeys, request.mostLetters) - 1);
      const all = Array.from({ length: last - first + 1 }, (_, index) => first + index);
      const open = all.filter((letter) => !this.#gone.has(`${letter}`));
      const letters = open.filter((letter) => !this.waits(letter));
      const waiting = open.length - letters.length;
      const failed = letters.filter((letter) => this.fails(letter));
      const healed = letters.filter((letter) => !this.fails(letter));
      const [seen, failedAgain] = [letters.length, failed.length];
      const error = { type: 'TargetReadOnly', message: 'it is a replica', stage: 'write' } as const;
      return {
        passed: { 0: `${last}` },
        ends: { 0: `${this.count}` },
        isLast: last >= this.count,
        counts: { ...NOTHING_REDRIVEN, seen, redriven: seen, keys: seen, failedAgain, healed: healed.length, waiting },
        resolved: healed.length === 0 ? [] : [{ end: 'healed', offsets: { 0: healed.map(String) } }],
        failed: failed.map((letter) => ({ offsets: { 0: [`${letter}`] }, error, attempts: 1 })),
        equalKeys: [],
        waitsFor: waiting > 0 ? 'h:1' : null,
        storeId: null,
      };
    },
    closeLetters: async (request) => {
      this.closed.push(request);
      for (const letter of lettersIn(request)) this.#gone.add(letter);
    },
    countNew: async () => 7,
  };

  sizes(): number[] {
    const passed = this.tried.map((request) => Number(request.passed['0'] ?? 0));
    return passed.map((from, index) => (passed[index + 1] ?? this.count) - from);
  }

  closedLetters(): string[] {
    return this.closed.flatMap(lettersIn);
  }
}

function lettersIn({ resolved, failed }: CloseLettersRequest): string[] {
  return [...resolved, ...failed].flatMap(({ offsets }) => offsets['0']!);
}

await describeTimeSkipping('a redrive', (server) => {
  async function withRedrive<T>(
    letters: Letters,
    input: Partial<RedriveInput>,
    work: (handle: Awaited<ReturnType<typeof start>>) => Promise<T>,
  ): Promise<T> {
    const taskQueue = ulid();
    const worker = await Worker.create({
      connection: server.env.nativeConnection,
      taskQueue,
      workflowBundle: workflowBundle(),
      activities: letters.activities,
    });
    return worker.runUntil(async () => work(await start(taskQueue, input)));
  }

  const start = (taskQueue: string, input: Partial<RedriveInput>) =>
    server.env.client.workflow.start<typeof redrive>('redrive', {
      workflowId: `${REDRIVE_ID_PREFIX}${taskQueue}`,
      taskQueue,
      args: [{ action: 'redrive', filter: {}, by: 'ann', ...input }],
    });

  const run = (letters: Letters, input: Partial<RedriveInput> = {}): Promise<RedriveResult> =>
    withRedrive(letters, input, (handle) => handle.result());

  test('grows from one key to a thousand, closes each letter once and tells what came meanwhile', async () => {
    const letters = new Letters(3_000);
    const result = await run(letters);
    expect(letters.sizes()).toEqual([1, 5, 20, 100, 500, 1_000, 1_000, 374]);
    expect(letters.closedLetters()).toEqual(Array.from({ length: 3_000 }, (_, index) => `${index + 1}`));
    expect(result).toMatchObject({ outcome: 'done', by: 'ann', newMeanwhile: 7 });
    expect(result.counts).toMatchObject({ redriven: 3_000, healed: 3_000, failedAgain: 0 });
  });

  test('of a fix that is none touches one key of a hundred thousand', async () => {
    const letters = new Letters(100_000);
    letters.fails = () => true;
    const result = await withRedrive(letters, {}, async (handle) => {
      const ended = await handle.result();
      expect(await shownOf(handle)).toContain('- 1: **TargetReadOnly**: it is a replica');
      return ended;
    });
    expect(result).toMatchObject({ outcome: 'stopped', failures: [{ type: 'TargetReadOnly', letters: 1 }] });
    expect(result.counts.redriven).toBe(1);
    expect(letters.closedLetters()).toEqual(['1']);
  });

  test('stops at the step in which more fail than may', async () => {
    const letters = new Letters(10_000);
    // The second cause is behind the first.
    letters.fails = (letter) => letter > 200;
    expect(await run(letters)).toMatchObject({ outcome: 'stopped', counts: { redriven: 626, failedAgain: 426 } });
    const lenient = new Letters(1_000);
    lenient.fails = (letter) => letter % 2 === 0;
    expect(await run(lenient, { failureRatio: 0.6 })).toMatchObject({ outcome: 'done', counts: { failedAgain: 500 } });
  });

  test('comes no faster than its rate, also over many runs of its history', async () => {
    const letters = new Letters(100_000);
    const result = await run(letters, { rate: 1_000, historyEventsPerRun: 300 });
    const seconds = (Date.parse(result.finishedAt) - Date.parse(result.startedAt)) / 1000;
    expect(result.counts.redriven).toBe(100_000);
    expect(seconds).toBeGreaterThan(95);
    // That it is no slower either redrive-run.test.ts shows, by a clock of its own: that of the
    // server runs on while this machine is busy.
    expect(seconds).toBeLessThan(200);
    expect(letters.closedLetters()).toHaveLength(100_000);
  });

  test('goes as fast as it can once its rate is taken away, in later runs of its history too', async () => {
    const letters = new Letters(2_000);
    const result = await withRedrive(letters, { rate: 10, historyEventsPerRun: 30 }, async (handle) => {
      await handle.signal(rate, { lettersPerSecond: null });
      return handle.result();
    });
    expect(result.counts.redriven).toBe(2_000);
    // At its first rate it would take 200 seconds of the server's clock.
    expect((Date.parse(result.finishedAt) - Date.parse(result.startedAt)) / 1000).toBeLessThan(150);
  });

  test('takes no more than it is asked for', async () => {
    const letters = new Letters(1_000);
    expect(await run(letters, { max: 50 })).toMatchObject({ outcome: 'limited', counts: { redriven: 50 } });
    expect(letters.closedLetters()).toHaveLength(50);
  });

  test('ends its step and rests while it is paused, and goes on where it was', async () => {
    const letters = new Letters(1_000);
    let goOn = () => {};
    const held = new Promise<void>((resolve) => {
      goOn = resolve;
    });
    letters.during = (attempt) => (attempt === 3 ? held : undefined);
    const result = await withRedrive(letters, { reason: 'the disk is mended' }, async (handle) => {
      await until(() => letters.tried.length === 3);
      await handle.signal(pause);
      goOn();
      await until(() => letters.closed.length === 3);
      // That it was closed is known to the workflow a moment later.
      const paused = { state: 'paused', counts: { redriven: 26 } };
      await eventually(async () => expect(await handle.query(progress)).toMatchObject(paused));
      expect(letters.tried).toHaveLength(3);
      const { startedAt } = await handle.query(progress);
      expect((await shownOf(handle)).split('\n')).toEqual([
        '**paused** · redrive of dead letters, by ann (the disk is mended)',
        '',
        `- since: ${startedAt}`,
        '- redriven: 26, healed: 26, equal already: 0, failed again: 0',
      ]);
      await handle.signal(rate, { lettersPerSecond: 100_000 });
      await handle.signal(resume);
      return handle.result();
    });
    expect(result.counts).toMatchObject({ redriven: 1_000, healed: 1_000 });
    expect(letters.closedLetters()).toHaveLength(1_000);
  });

  test('that is cancelled closes what it has tried, and says how far it was', async () => {
    const letters = new Letters(1_000);
    let goOn = () => {};
    const held = new Promise<void>((resolve) => {
      goOn = resolve;
    });
    letters.during = (attempt) => (attempt === 4 ? held : undefined);
    const result = await withRedrive(letters, {}, async (handle) => {
      await until(() => letters.tried.length === 4);
      await handle.cancel();
      goOn();
      return handle.result();
    });
    expect(result).toMatchObject({ outcome: 'cancelled', newMeanwhile: null, counts: { redriven: 126 } });
    expect(letters.closedLetters()).toHaveLength(126);
  });

  test.each([
    ['its last letters are closed', 'closeLetters'],
    ['what came meanwhile is counted', 'countNew'],
  ] as const)('that is cancelled while %s has done its work, and says so', async (_when, held) => {
    const letters = new Letters(1);
    let goOn = () => {};
    let begun = false;
    const released = new Promise<void>((resolve) => {
      goOn = resolve;
    });
    const activity = letters.activities[held] as (request: unknown) => Promise<unknown>;
    Object.assign(letters.activities, {
      [held]: async (request: unknown) => {
        begun = true;
        await released;
        return activity(request);
      },
    });
    const result = await withRedrive(letters, {}, async (handle) => {
      await until(() => begun);
      await handle.cancel();
      goOn();
      return handle.result();
    });
    expect(result).toMatchObject({ outcome: 'done', counts: { redriven: 1, healed: 1 } });
    expect(letters.closedLetters()).toEqual(['1']);
  });

  test('goes on past letters of a server that is out, and comes back to them until it answers', async () => {
    const letters = new Letters(200);
    letters.waits = (letter) => letter >= 11 && letter <= 30 && letters.tried.length < 12;
    const result = await withRedrive(letters, {}, async (handle) => {
      await until(() => letters.tried.length > 5);
      const { counts, waitsFor } = await handle.query(progress);
      expect(counts).toMatchObject({ redriven: 180, waiting: 20, failedAgain: 0 });
      expect(waitsFor).toBe('h:1');
      expect(await shownOf(handle)).toContain('- waiting for h\\:1, which does not answer: 20');
      return handle.result();
    });
    const told = { redriven: 200, healed: 200, failedAgain: 0, waiting: 0, seen: 200 };
    expect(result).toMatchObject({ outcome: 'done', waitsFor: null, counts: told });
    expect(new Set(letters.closedLetters()).size).toBe(200);
    expect(letters.closedLetters()).toHaveLength(200);
    // From where the first of them is, and no letter that healed is gone through again.
    const again = letters.tried.filter((request) => request.again);
    expect(again[0]!.passed).toEqual({ 0: '6' });
  });

  test('of a rule leaves letters of a server that is out to the next one', async () => {
    const letters = new Letters(100);
    letters.waits = (letter) => letter <= 30;
    const result = await run(letters, { leavesWaiting: true });
    expect(result).toMatchObject({ outcome: 'waiting', waitsFor: 'h:1', counts: { redriven: 70, waiting: 30 } });
  });

  test('that is cancelled while all letters wait ends', async () => {
    const letters = new Letters(3);
    letters.waits = () => true;
    const result = await withRedrive(letters, {}, async (handle) => {
      await until(() => letters.tried.length > 4);
      await handle.cancel();
      return handle.result();
    });
    expect(result).toMatchObject({ outcome: 'cancelled', counts: { redriven: 0, waiting: 3 } });
    expect(letters.closed).toEqual([]);
  });

  test('whose dead letters can not be read for a while goes on then: no letter has failed', async () => {
    const letters = new Letters(10);
    letters.during = (attempt) => {
      if (attempt < 4) throw ApplicationFailure.retryable('the topic t is away', 'DeadLettersUnreachable');
    };
    expect(await run(letters)).toMatchObject({ outcome: 'done', counts: { redriven: 10, failedAgain: 0 } });
  });
});
