/** Dead letters from an outage of the target to the end, with a real bridge and worker. */
import { describe, expect, it, type TestContext } from 'vitest';
import { progress } from '../../../workflows/redrive-messages.js';
import { generatedCases } from '../../support/cases.js';
import { compareRedis } from '../../support/compare.js';
import { eventually } from '../../support/eventually.js';
import { createSandbox, recordOf } from '../../support/keymend.js';

const keysOf = (count: number) => Array.from({ length: count }, (_, index) => `user:${index}`);

type Intake = 'kafka' | 'redis-stream';
const INTAKES: readonly Intake[] = ['kafka', 'redis-stream'];

/** One for each test: some of them wait beside each other. */
async function createBed({ onTestFinished }: Pick<TestContext, 'onTestFinished'>) {
  const sandbox = await createSandbox();
  onTestFinished(() => sandbox.close());
  const link = sandbox.prefix.slice(0, -1);
  const { source, producer, topic, deadLetterTopic } = sandbox;

  async function dlq(...args: string[]) {
    const { code, stdout, stderr } = await sandbox.keymend('dlq', ...args, '--output', 'json');
    if (stdout === '') throw new Error(stderr);
    return { code, answer: JSON.parse(stdout), stderr };
  }

  return {
    ...sandbox,
    sandbox,
    link,
    dlq,

    /** Writes keys on the source alone, and records that they failed. */
    async fail(keys: readonly string[], intake: Intake): Promise<void> {
      await source.client.mset(...keys.flatMap((key) => [key, 'new']));
      const records = keys.map((key) => recordOf(key, { link }));
      if (intake === 'kafka') await producer.send({ topic, messages: records });
      else
        for (const { key, value } of records)
          await source.client.xadd('keymend:outbox', '*', 'key', key, 'value', value);
    },

    /** Writes keys on the source alone, and letters of them. */
    async giveUp(keys: readonly string[], intake: Intake): Promise<void> {
      await source.client.mset(...keys.flatMap((key) => [key, 'new']));
      const headers = { 'dlq.reason': 'attempts-exhausted', 'dlq.link': link };
      const letters = keys.map((key) => ({ ...recordOf(key, { link }), headers }));
      if (intake === 'kafka') return void (await producer.send({ topic: deadLetterTopic, messages: letters }));
      const pipeline = source.client.pipeline();
      for (const { key, value } of letters)
        pipeline.xadd('keymend:outbox:dlq', '*', 'key', key, 'value', value, ...Object.entries(headers).flat());
      await pipeline.exec();
    },

    /** One attempt, which the target refuses while it is a replica. */
    configure(intake: Intake = 'kafka', more: object = {}): void {
      sandbox.configure({ link: { name: link, retry: { maximumAttempts: 1 }, ...more }, config: { intake } });
    },

    async untilLetters(count: number): Promise<void> {
      await eventually(async () => expect((await dlq('group')).answer.letters).toBe(count));
    },

    /** Workflows of keys that are still under way. */
    async open(): Promise<string[]> {
      const ids = [];
      const query = `WorkflowType = "reconcileKey" AND ExecutionStatus = "Running" AND TaskQueue = "keymend-${link}"`;
      for await (const { workflowId } of sandbox.client.workflow.list({ query })) ids.push(workflowId);
      return ids;
    },
  };
}

it('letters resolve by the state of their keys: a thousand of one key are one repair, equal ones are named', async (context) => {
  const { sandbox, source, target, producer, deadLetterTopic, link, dlq, configure } = await createBed(context);
  configure();
  await source.client.mset('hot', 'new', 'mended', 'new');
  await target.client.set('mended', 'new');
  // Too large for one call.
  await source.client.rpush('large', ...keysOf(6_000));
  const letter = (key: string, more: object = {}, headers: object = {}) => {
    const dlqHeaders = { 'dlq.reason': 'unknown-link', 'dlq.link': link, 'dlq.error.type': 'UnknownLink', ...headers };
    return { ...recordOf(key, { link, ...more }), headers: dlqHeaders };
  };
  const messages = [
    ...Array.from({ length: 1_000 }, () => letter('hot')),
    letter('mended'),
    letter('large'),
    // It has failed often enough.
    letter('looping', {}, { 'dlq.redrive.count': '5' }),
    letter('strange', { link: 'nobody' }),
    { key: 'x', value: 'no JSON', headers: { 'dlq.reason': 'invalid-json' } },
  ];
  await producer.send({ topic: deadLetterTopic, messages });
  await sandbox.start('worker');

  expect((await dlq('redrive', '--dry-run')).answer).toMatchObject({ letters: 1_002, unusable: 2, exhausted: 1 });
  for (const verb of [
    ['redrive', '--dry-run'],
    ['discard', '--all', '--dry-run'],
    ['discard', '--all'],
  ])
    expect((await dlq(...verb, '--max', '2')).answer).toMatchObject({ dryRun: true, letters: 2 });
  const { code, answer } = await dlq('redrive', '--as', 'ann', '--why', 'the link is there now');
  expect(answer).toMatchObject({ outcome: 'done', by: 'ann', reason: 'the link is there now' });
  expect(answer.counts).toEqual({
    seen: 1_005,
    redriven: 1_002,
    healed: 1_001,
    alreadyEqual: 1,
    failedAgain: 0,
    discarded: 0,
    unusable: 2,
    exhausted: 1,
    waiting: 0,
    keys: 3,
  });
  expect(answer.equalKeys).toEqual([{ key: 'mended', encoding: 'utf8' }]);
  expect(code).toBe(4);
  expect(await target.client.llen('large')).toBe(6_000);
  expect((await dlq('list')).answer.map(({ key }: { key: { key: string } }) => key.key)).toEqual([
    'looping',
    'strange',
    'x',
  ]);

  const refused = await sandbox.keymend('dlq', 'discard');
  expect(refused.code).toBe(2);
  expect((await dlq('discard', '--reason', 'invalid-json')).code).toBe(2);
  const discarded = await dlq('discard', '--reason', 'invalid-json', '--yes', '--as', 'bob', '--why', 'not ours');
  expect(discarded.answer).toMatchObject({ action: 'discard', counts: { discarded: 1, seen: 1 }, by: 'bob' });
  expect((await dlq('list')).answer).toHaveLength(2);
  const { memo } = await sandbox.client.workflow.getHandle(discarded.answer.redriveId).describe();
  expect(memo).toEqual({ action: 'discard', filter: { reason: 'invalid-json' }, by: 'bob', reason: 'not ours' });

  // Not that all is healed: most likely it was written wrongly.
  const { stdout } = await sandbox.keymend('dlq', 'redrive', '--link', `${link}x`);
  expect(stdout).toContain(`done: no open letter is meant; no link is called ${link}x, did you mean "${link}"?`);
});

it('a rule redrives and discards by itself what is old enough, and leaves the rest', async (context) => {
  const { sandbox, source, target, producer, deadLetterTopic, client, link, dlq } = await createBed(context);
  const rules = [
    { match: { reason: 'unknown-link' }, do: 'redrive', after: '1h' },
    { match: { reason: 'invalid-json' }, do: 'discard', after: '1h' },
  ];
  sandbox.configure({ link: { name: link }, config: { dlq: { rules } } });
  await source.client.mset('user:1', 'new', 'user:2', 'new');
  const old = new Date(Date.now() - 2 * 3_600_000);
  const letter = (key: string, reason: string, at: Date) => ({
    ...recordOf(key, { link, failedAt: at.toISOString() }),
    timestamp: `${at.getTime()}`,
    headers: { 'dlq.reason': reason, 'dlq.link': link },
  });
  const messages = [
    letter('user:1', 'unknown-link', old),
    letter('user:2', 'unknown-link', new Date(Date.now() + 10 * 60_000)),
    letter('x', 'invalid-json', old),
    letter('user:1', 'cancelled', old),
  ];
  await producer.send({ topic: deadLetterTopic, messages });
  await sandbox.start('worker');
  const ids = async () => {
    const found: string[] = [];
    for await (const { scheduleId } of client.schedule.list())
      if (scheduleId.startsWith(`keymend/dlq-rule/keymend-${link}/`)) found.push(scheduleId);
    expect(found).toHaveLength(2);
    return found.sort();
  };
  const schedules = (await eventually(ids)).map((id) => client.schedule.getHandle(id));
  // Without waiting for its time.
  for (const schedule of schedules) await schedule.trigger();
  const left = async () => (await dlq('list')).answer.map(({ reason }: { reason: string }) => reason);
  await eventually(async () => expect(await left()).toEqual(['unknown-link', 'cancelled']));
  expect(await target.client.mget('user:1', 'user:2')).toEqual(['new', null]);
  const query = `WorkflowType = "redrive" AND TaskQueue = "keymend-${link}"`;
  await eventually(async () => {
    // A full hour may begin meanwhile, and with it one more of each.
    const by = new Set<string>();
    for await (const { memo, status } of client.workflow.list({ query })) by.add(`${memo?.by}: ${status.name}`);
    expect([...by].sort()).toEqual(['rule 1 of dlq.rules: COMPLETED', 'rule 2 of dlq.rules: COMPLETED']);
  });
  const { action } = await schedules[0]!.describe();
  // Of another task queue, whose rule comes at the same second, it is another one.
  expect(action.workflowId).toMatch(new RegExp(`^keymend/redrive/keymend-${link}/rule-discard-`));
  await Promise.all(schedules.map((schedule) => schedule.delete()));
});

// They wait most of the time: for Temporal to miss a worker, for a server, for a rate.
describe('beside others', () => {
  it.concurrent.for(INTAKES)(
    'a false fix redrives one key and stops; the right one heals all, and nothing is left (%s)',
    async (intake, context) => {
      const { sandbox, source, target, link, dlq, fail, configure, untilLetters, open } = await createBed(context);
      configure(intake);
      await target.client.replicaof('127.0.0.1', 1);
      const keys = keysOf(30);
      await fail(keys, intake);
      await sandbox.start('start');
      await untilLetters(keys.length);

      const { groups } = (await dlq('group')).answer;
      const group = { reason: 'attempts-exhausted', errorType: 'TargetReadOnly', link, prefix: 'user:', letters: 30 };
      expect(groups).toMatchObject([group]);
      const redrive = groups[0].next.split(' ').slice(3);
      expect(redrive.slice(0, 2)).toEqual(['redrive', '--group']);

      const falseFix = await dlq(...redrive);
      expect(falseFix.code).toBe(3);
      expect(falseFix.answer).toMatchObject({
        outcome: 'stopped',
        counts: { redriven: 1, healed: 0, failedAgain: 1 },
        failures: [{ type: 'TargetReadOnly', letters: 1 }],
      });
      const left: { letter: string; redriven: number; eventId: string }[] = (await dlq('list')).answer;
      expect(left.map(({ redriven }) => redriven).sort()).toEqual([...Array(29).fill(0), 1]);
      const again = left.find(({ redriven }) => redriven === 1)!;
      const { answer: shown } = await dlq('show', again.letter);
      expect(shown.dlq).toMatchObject({ reason: 'attempts-exhausted', 'redrive.count': '1', attempts: '1' });
      expect(Date.parse(shown.dlq['redrive.last_at'])).toBeGreaterThan(0);
      expect((await dlq('show', again.eventId)).answer).toEqual(shown);

      await target.client.replicaof('NO', 'ONE');
      const { code, answer } = await dlq(...redrive);
      expect(answer).toMatchObject({ outcome: 'done', counts: { redriven: 30, healed: 30, failedAgain: 0, keys: 30 } });
      expect(code).toBe(0);
      expect(await compareRedis(source.client, target.client)).toEqual([]);
      expect((await dlq('list')).answer).toEqual([]);
      await eventually(async () => expect(await open()).toEqual([]));
    },
  );

  it.concurrent.for(INTAKES)(
    'a worker that is killed again and again loses no letter and doubles none (%s)',
    async (intake, context) => {
      const { sandbox, source, target, dlq, giveUp, configure } = await createBed(context);
      // Half of the keys are none that the user of the target may touch.
      await target.client.acl('SETUSER', 'half', 'on', '>pw', '~ok:*', '~keymend:*', '&*', '+@all');
      configure(intake, { target: { url: target.url.replace('redis://', 'redis://half:pw@') } });
      const keys = Array.from({ length: 400 }, (_, index) => `${index % 2 === 0 ? 'ok' : 'no'}:${index}`);
      await giveUp(keys, intake);
      let running = await sandbox.start('worker');

      const redriving = dlq('redrive', '--failure-ratio', '1', '--rate', '100');
      for (let kill = 0; kill < 2; kill++) {
        await running.logged('dead letters: ');
        await running.stop('SIGKILL');
        running = await sandbox.start('worker');
      }
      const { answer, code } = await redriving;
      expect(answer.counts).toMatchObject({ seen: 400, redriven: 400, failedAgain: 200 });
      expect(answer.counts.healed + answer.counts.alreadyEqual).toBe(200);
      expect(code).toBe(3);
      const left: { key: { key: string }; redriven: number }[] = (await dlq('list', '--limit', '1000')).answer;
      expect(left.map(({ key }) => key.key).sort()).toEqual(keys.filter((key) => key.startsWith('no:')).sort());
      expect(new Set(left.map(({ redriven }) => redriven))).toEqual(new Set([1]));
      expect(await target.client.dbsize()).toBeGreaterThanOrEqual(200);
      expect(await source.client.exists(...keys)).toBe(400);
    },
  );

  it.concurrent('many letters come no faster than is asked for, and each once, also when the worker is killed', async (context) => {
    const { sandbox, source, target, producer, deadLetterTopic, link, dlq, configure } = await createBed(context);
    configure();
    // In a full run a hundred thousand.
    const count = generatedCases(80) * 25;
    const rate = Math.min(count / 5, 10_000);
    for (let from = 0; from < count; from += 1_000) {
      const keys = Array.from({ length: Math.min(1_000, count - from) }, (_, index) => `user:${from + index}`);
      await source.client.mset(...keys.flatMap((key) => [key, 'new']));
      const headers = { 'dlq.reason': 'unknown-link', 'dlq.link': link };
      const messages = keys.map((key) => ({ ...recordOf(key, { link }), headers }));
      await producer.send({ topic: deadLetterTopic, messages });
    }
    const worker = await sandbox.start('worker');
    const redriving = dlq('redrive', '--rate', `${rate}`);
    await worker.logged('"redriven":100');
    await worker.stop('SIGKILL');
    await sandbox.start('worker');
    const { answer, code } = await redriving;
    expect(answer.counts).toMatchObject({ seen: count, redriven: count, failedAgain: 0, keys: count });
    expect(answer.counts.healed + answer.counts.alreadyEqual).toBe(count);
    expect(code).toBe(0);
    const seconds = (Date.parse(answer.finishedAt) - Date.parse(answer.startedAt)) / 1000;
    expect(count / seconds).toBeLessThan(1.05 * rate);
    expect(await target.client.dbsize()).toBeGreaterThanOrEqual(count);
    expect((await dlq('group')).answer.letters).toBe(0);
  });

  it.concurrent('a server that does not answer is waited for: no letter has failed', async (context) => {
    const { sandbox, target, client, link, dlq, giveUp, configure } = await createBed(context);
    configure();
    await giveUp(keysOf(20), 'kafka');
    await sandbox.start('worker');
    target.freeze();
    const redriving = dlq('redrive');
    await eventually(async () => {
      const query = `WorkflowType = "redrive" AND TaskQueue = "keymend-${link}"`;
      const waiting = [];
      for await (const { workflowId } of client.workflow.list({ query })) {
        const { counts, waitsFor } = await client.workflow.getHandle(workflowId).query(progress);
        waiting.push({ letters: counts.waiting, waitsFor });
      }
      expect(waiting).toEqual([{ letters: 20, waitsFor: expect.stringContaining('127.0.0.1') }]);
    });
    target.thaw();
    const { answer, code } = await redriving;
    expect(answer.counts).toMatchObject({ redriven: 20, healed: 20, failedAgain: 0, waiting: 0 });
    expect(code).toBe(0);
  });
});
