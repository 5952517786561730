import { MockActivityEnvironment } from '@temporalio/testing';
import { DefaultLogger } from '@temporalio/worker';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { create, type EndedResult } from '../../activities/index.js';
import type { ReconcileReply, ReconcileRequest } from '../../workflows/activities.js';
import { DEFAULT_OPTIONS, startLink, type TestLink } from '../engine/link.js';

let link: TestLink;
beforeAll(async () => {
  link = await startLink([], [], { largeValues: { elements: 10, bytes: 1024 } });
});
afterAll(() => link?.stop());

interface Told {
  readonly result: EndedResult;
  readonly durationMs: number;
  readonly link: string;
}

/** One attempt at a key as a worker makes it, with all that it told `onResult`. */
async function attempt(
  key: string,
  { isLocal = false, ...more }: Partial<ReconcileRequest> & { isLocal?: boolean } = {},
) {
  const told: Told[] = [];
  const activities = create({
    links: new Map([['east-to-west', { sides: link.sides, options: DEFAULT_OPTIONS }]]),
    publishEscalation: async () => {},
    onResult: (result, durationMs, { link }) => told.push({ result, durationMs, link }),
  });
  const request: ReconcileRequest = {
    link: 'east-to-west',
    key,
    encoding: 'utf8',
    hint: { whole: true, memberCommands: [], otherCommands: [], members: { utf8: [], base64: [] } },
    allowDelete: false,
    ...more,
  };
  // Without a log: it would print each failure.
  const environment = new MockActivityEnvironment({ isLocal }, { logger: new DefaultLogger('ERROR') });
  const ended: Promise<ReconcileReply | Error> = environment.run(activities.reconcile, request);
  const reply = await ended.catch((error: Error) => error);
  return { reply, told };
}

test('an attempt tells once how it ended, with the link and how long it took', async () => {
  await link.source.client.set('k', 'new');
  const { reply, told } = await attempt('k');
  expect(reply).toMatchObject({ outcome: 'repaired' });
  expect(told).toEqual([
    { result: expect.objectContaining({ outcome: 'repaired' }), durationMs: expect.any(Number), link: 'east-to-west' },
  ]);
  expect(told[0]!.durationMs).toBeGreaterThan(0);
  expect((await attempt('k')).told).toMatchObject([{ result: { outcome: 'equal' } }]);
});

test('an attempt that failed tells why', async () => {
  await link.target.client.set('gone', 'old');
  await link.target.client.mset(Object.fromEntries(Array.from({ length: 20 }, (_, index) => [`other${index}`, 'x'])));
  const { reply, told } = await attempt('gone');
  expect(reply).toMatchObject({ type: 'SourceSuspicious', nonRetryable: true });
  expect(told).toMatchObject([{ result: { outcome: 'failed', error: { type: 'SourceSuspicious' } } }]);
});

test('a large value is told of by the attempt that goes through it, not by the one that leaves it alone', async () => {
  await link.source.client.sadd('large', ...Array.from({ length: 50 }, (_, index) => `m${index}`));
  const left = await attempt('large', { isLocal: true });
  expect(left).toEqual({ reply: { outcome: 'large' }, told: [] });
  const { told } = await attempt('large');
  expect(told).toMatchObject([{ result: { outcome: 'repaired', action: 'members' } }]);
});

test('a link that the worker does not know is an error that is tried again', async () => {
  const { reply, told } = await attempt('k', { link: 'elsewhere' });
  expect(reply).toMatchObject({ type: 'UnknownLink', nonRetryable: false });
  expect(told).toEqual([]);
});
