/** Differences that a sweep gives to batches, with real Temporal and no worker. */
import { randomUUID } from 'node:crypto';
import { defaultPayloadConverter } from '@temporalio/common';
import { pino } from 'pino';
import { expect, onTestFinished, test } from 'vitest';
import { parseConfig } from '../../src/config.js';
import type { SureDifference } from '../../src/sweep/suspects.js';
import { LinkAttribute } from '../../src/temporal/link-attribute.js';
import { createSweepBatches } from '../../src/worker/sweep-batches.js';
import type { BatchInput } from '../../workflows/batch-messages.js';
import { onStack } from '../support/workflow-bed.js';

const server = onStack();
const logger = pino({ level: 'silent' });
const NEVER = new AbortController().signal;
const missing = (...keys: (string | Buffer)[]): SureDifference[] =>
  keys.map((key) => ({ key: Buffer.from(key as string), difference: 'missing', foundAtMs: 1 }));

function bed() {
  const client = server.env.client.workflow;
  const [taskQueue, sweepId] = [randomUUID(), randomUUID()];
  const link = { name: `l-${sweepId.slice(0, 8)}`, source: { url: 'redis://h:1' }, target: { url: 'redis://h:2' } };
  const { links } = parseConfig(JSON.stringify({ intake: 'redis-stream', links: [link] }), 'the test', {});
  const alone: string[] = [];
  const handOver = async ({ key }: { key: string }) => void alone.push(key);
  const attribute = new LinkAttribute(logger);
  const batchesOf = createSweepBatches({ client, taskQueue, attribute, links, handOver, logger });
  // Another process has nothing but the ID of the sweep.
  const sweep = () => batchesOf({ link: link.name, sweepId, workflow: { workflowId: 'sweep', runId: sweepId } });
  const started: string[] = [];
  const start = async (found: SureDifference[], first: number) => {
    const id = await sweep().start(found, first, NEVER);
    started.push(id);
    return id;
  };
  onTestFinished(async () => {
    for (const id of new Set(started))
      await client
        .getHandle(id)
        .terminate()
        .catch(() => {});
  });
  const idAt = (first: number) => `keymend/batch/${link.name}/sweep-${sweepId}/0/${first}`;
  const inputOf = async (id: string): Promise<BatchInput> => {
    const { events } = await client.getHandle(id).fetchHistory();
    const { input } = events![0]!.workflowExecutionStartedEventAttributes!;
    return defaultPayloadConverter.fromPayload(input!.payloads![0]!);
  };
  return { client, sweep, start, idAt, inputOf, alone };
}

test('a batch has its keys as refused writes of which nothing is in flight, and no word of a value', async () => {
  const { start, idAt, inputOf } = bed();
  const id = await start(missing('user:1', Buffer.from([0xff])), 7);
  expect(id).toBe(idAt(7));
  const { writes, part } = await inputOf(id);
  expect(part).toMatchObject({ partition: 0, first: '7', last: '8' });
  expect(writes).toMatchObject([
    { key: 'user:1', encoding: 'utf8', outcome: 'refused', idempotent: true, origin: 'keymend sweep' },
    { key: '/w==', encoding: 'base64', error: { message: 'found by a sweep: missing' } },
  ]);
});

test('behind a crash the same keys at the same place are met, and other keys are another batch', async () => {
  const { start, idAt, inputOf } = bed();
  const first = await start(missing('user:1', 'user:2'), 0);
  expect(await start(missing('user:1', 'user:2'), 0)).toBe(first);
  const other = await start(missing('user:2', 'user:3'), 0);
  expect(other).toMatch(new RegExp(`^${idAt(0)}~`));
  expect((await inputOf(other)).writes.map(({ key }) => key)).toEqual(['user:2', 'user:3']);
  expect((await inputOf(first)).writes.map(({ key }) => key)).toEqual(['user:1', 'user:2']);
});

test.each([
  ['as an input', 3],
  ['as a message at all', 5],
])('a key too long for Temporal to take %s goes on alone, and holds up no other', async (_, megabytes) => {
  const { start, alone } = bed();
  const key = 'k'.repeat(megabytes * 1024 * 1024);
  await start(missing(key), 0);
  expect(alone).toEqual([key]);
});

test('one that is under way has no end yet, and one that somebody ended has healed nothing', async () => {
  const { client, sweep, start } = bed();
  const id = await start(missing('user:1'), 0);
  expect(await sweep().ended(id)).toBeNull();
  await client.getHandle(id).terminate();
  expect(await sweep().ended(id)).toMatchObject({ healed: 0 });
  expect(await sweep().ended(`${id} that was never there`)).toMatchObject({ healed: 0 });
});
