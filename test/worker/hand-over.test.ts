/** Keys that a batch gives to workflows of their own, with real Temporal and no worker. */
import { randomUUID } from 'node:crypto';
import { pino } from 'pino';
import { expect, onTestFinished, test } from 'vitest';
import { parseConfig } from '../../src/config.js';
import { LinkAttribute } from '../../src/temporal/link-attribute.js';
import { createHandOver } from '../../src/worker/hand-over.js';
import type { EscalateRequest } from '../../workflows/activities.js';
import { packed, unpacked } from '../../workflows/batch-messages.js';
import { leaving } from '../../workflows/batch-run.js';
import { failedWrite, onStack } from '../support/workflow-bed.js';

const server = onStack();
const BATCH = { workflowId: 'keymend/batch/l/t/0/0', runId: 'r' };
const logger = pino({ level: 'silent' });

function bed() {
  const client = server.env.client.workflow;
  const name = randomUUID();
  const link = { name: 'east-to-west', source: { url: 'redis://h:1' }, target: { url: 'redis://h:2' } };
  const config = parseConfig(
    JSON.stringify({ intake: 'redis-stream', links: [{ ...link, workflowIdPrefix: `${name}/` }] }),
    'the test',
    {},
  );
  const letters: EscalateRequest[] = [];
  const handOver = createHandOver({
    client,
    taskQueue: name,
    attribute: new LinkAttribute(logger),
    links: config.links,
    deadLetter: async (letter) => void letters.push(letter),
    logger,
  });
  const workflowId = `${name}/user:42`;
  onTestFinished(async () => {
    await client
      .getHandle(workflowId)
      .terminate()
      .catch(() => {});
  });
  const give = (changes = {}) => handOver(failedWrite(changes), BATCH, new AbortController().signal);
  return { client, name, workflowId, letters, give };
}

test('a key goes on as a workflow of its own, with its failed write', async () => {
  const { client, workflowId, letters, give } = bed();
  await give({ id: 'of the batch' });
  const { events } = await client.getHandle(workflowId).fetchHistory();
  const signals = events!.flatMap(({ workflowExecutionSignaledEventAttributes: signal }) => signal ?? []);
  expect(signals.map(({ signalName }) => signalName)).toEqual(['failedWrites']);
  expect(String(signals[0]!.input!.payloads![0]!.data)).toContain('of the batch');
  expect(letters).toEqual([]);
});

test('a key that its batch may have written just now is compared after `settle`, however long ago its record was read', async () => {
  const { client, workflowId, give } = bed();
  const read = packed(failedWrite({ outcome: 'unknown' }));
  const part = {
    topic: 't',
    partition: 0,
    first: '0',
    last: '0',
    firstId: 'i',
    receivedAt: '2026-11-20T23:00:01.000Z',
  };
  await give(unpacked({ link: 'east-to-west', part }, leaving({ write: read, repairs: 1 }, Date.now())));
  const [started] = (await client.getHandle(workflowId).fetchHistory()).events!;
  const { seconds, nanos } = started!.workflowExecutionStartedEventAttributes!.firstWorkflowTaskBackoff!;
  expect(Number(seconds) * 1_000 + Number(nanos) / 1e6).toBeGreaterThan(500);
});

test('a key whose ID somebody else has becomes a dead letter', async () => {
  const { client, name, workflowId, letters, give } = bed();
  await client.start('foreign', { workflowId, taskQueue: name });
  await give({ id: 'of the batch' });
  expect(letters).toMatchObject([
    { event: { id: 'of the batch' }, error: { type: 'WorkflowIdTaken', stage: 'signal' } },
  ]);
  expect(letters[0]!.error.message).toContain('a workflow of type foreign');
});

test('a key that is too long for a message to Temporal becomes a dead letter at once', async () => {
  const { letters, give } = bed();
  await give({ key: 'k'.repeat(2 * 1024 * 1024) });
  expect(letters).toMatchObject([
    { error: { type: 'TemporalRejected', message: expect.stringMatching(/^a key of 2097152 bytes/) } },
  ]);
});

test('a key of a link that no worker knows any more becomes a dead letter, with when it had failed', async () => {
  const { letters, give } = bed();
  const merged = {
    count: 2,
    ids: ['a', 'b'],
    firstFailedAt: '2026-11-20T22:00:00.000Z',
    lastFailedAt: '2026-11-20T23:00:00.000Z',
  };
  await give({ link: 'gone', merged });
  expect(letters).toMatchObject([
    {
      error: { type: 'UnknownLink' },
      firstFailedAt: '2026-11-20T22:00:00.000Z',
      lastFailedAt: '2026-11-20T23:00:00.000Z',
    },
  ]);
});
