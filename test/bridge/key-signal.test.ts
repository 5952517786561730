import { expect, test } from 'vitest';
import type { KeyGroup } from '../../src/bridge/group.js';
import { signalWithStartOptions } from '../../src/bridge/key-signal.js';
import { mergeWrites } from '../../src/bridge/merge.js';
import { parseConfig } from '../../src/config.js';
import type { FailedWrite } from '../../workflows/messages.js';

const NOW = Date.parse('2026-11-20T23:00:00.000Z');
const SETTLE_MS = 2_000;
const { links } = parseConfig(
  `{ kafka: { brokers: ['h:1'] }, links: [{ name: l, source: { url: 'redis://a' }, target: { url: 'redis://b' }, settle: 2s }] }`,
  'the test',
  {},
);
const RECORD = {
  key: null,
  value: null,
  headers: {},
  position: { topic: 't', partition: 0, offset: '0', timestamp: '0' },
};

function write(ageMs: number, fields: Partial<FailedWrite> = {}): FailedWrite {
  const failedAt = new Date(NOW - ageMs).toISOString();
  return { specVersion: 1, id: 'i', link: 'l', key: 'k', failedAt, outcome: 'refused', idempotent: true, ...fields };
}

function groupOf(...events: FailedWrite[]): KeyGroup {
  return {
    kind: 'key',
    link: links[0]!,
    key: Buffer.from('k'),
    writes: events.map((event) => ({ event, record: RECORD })),
  };
}

function startDelay(...events: FailedWrite[]): unknown {
  return signalWithStartOptions(groupOf(...events), events, 'keymend', NOW).startDelay;
}

test('a start waits for what is left of settle, of writes that may still be in flight', () => {
  expect(startDelay(write(500, { outcome: 'unknown' }))).toBe(1_500);
  expect(startDelay(write(500, { outcome: undefined }))).toBe(1_500);
  expect(startDelay(write(500, { idempotent: false }))).toBe(1_500);
  expect(startDelay(write(500, { idempotent: undefined }))).toBe(1_500);
  expect(startDelay(write(500))).toBeUndefined();
});

test('the newest write that may be in flight counts, not one that was refused', () => {
  const old = write(1_900, { outcome: 'unknown' });
  const newer = write(700, { outcome: 'unknown' });
  expect(startDelay(newer, old, write(10))).toBe(1_300);
});

test('how long ago a write that may be in flight was read is told each time, whatever the clock shows', () => {
  const receivedAt = new Date(NOW - 300).toISOString();
  const events = [write(500), write(3_600_000, { outcome: 'unknown', receivedAt })];
  const told = (now: number) => signalWithStartOptions(groupOf(), events, 'keymend', now).signalArgs[0];
  expect(told(NOW)).toEqual([events[0], { ...events[1], receivedAgoMs: 300 }]);
  expect(told(NOW + 100)[1]).toMatchObject({ receivedAgoMs: 400 });
  expect(told(NOW - 1_000)[1]).toMatchObject({ receivedAgoMs: 0 });
});

test('it counts from when the bridge has read of the writes, also where many are one', () => {
  const receivedAt = new Date(NOW - 300).toISOString();
  const old = { outcome: 'unknown', receivedAt } as const;
  expect(startDelay(write(3_600_000, old))).toBe(1_700);
  const merged = mergeWrites([write(3_600_000, { ...old, id: 'a' }), write(3_500_000, { id: 'b' })]);
  expect(startDelay(merged)).toBe(1_700);
  // When they failed stays what the producer says: writes of before wake no escalated key.
  expect(merged.failedAt).toBe(write(3_500_000).failedAt);
  expect(merged.merged).toMatchObject({
    firstFailedAt: write(3_600_000).failedAt,
    lastFailedAt: write(3_500_000).failedAt,
  });
});

test('it waits neither for the past nor, when a clock runs ahead, longer than settle', () => {
  expect(startDelay(write(SETTLE_MS, { outcome: 'unknown' }))).toBeUndefined();
  expect(startDelay(write(3_600_000, { outcome: 'unknown' }))).toBeUndefined();
  expect(startDelay(write(-3_600_000, { outcome: 'unknown' }))).toBe(SETTLE_MS);
});

test('what a person sees of the workflow holds no key and no value', () => {
  const events = [write(0, { command: 'SADD', members: ['secret'] })];
  const { staticSummary } = signalWithStartOptions(groupOf(...events), events, 'keymend', NOW);
  expect(staticSummary).toBe('SADD failed on l');
});
