import { expect, test } from 'vitest';
import { mergeWrites } from '../../src/bridge/merge.js';
import { asWholeKey, wholeKeyAfter } from '../../src/bridge/whole-key.js';
import { DEFAULT_POLICY, type FailedWrite } from '../../workflows/messages.js';
import { addFailedWrites, NOTHING_PENDING } from '../../workflows/pending.js';
import type { Pending } from '../../workflows/run-state.js';
import { failedWrite } from './bridge-bed.js';

const NOW = Date.now();
const add = (pending: Pending, event: FailedWrite) => addFailedWrites(pending, [event], DEFAULT_POLICY, NOW);
const hset = (id: string) => failedWrite({ id, command: 'HSET', members: [id], idempotent: true });
const redriven = { redrive: 1, record: { topic: 't', partition: 0, offset: '7', timestamp: '0' } };

test.each([
  ['a failed write', hset('f2')],
  ['one that was redriven', { ...hset('f2'), ...redriven }],
  ['several as one', mergeWrites([hset('f2'), hset('f3')])],
  ['one of the whole key that does no harm twice', { ...hset('f2'), command: undefined, members: undefined }],
])('%s of the whole key is heeded by a run that has seen it as a part, and once', (_what, event) => {
  const seen = add(NOTHING_PENDING, event);
  const told = add(seen, asWholeKey(event));
  expect(told).toMatchObject({ hint: { whole: true }, verify: true, count: seen.count + 1 });
  expect(add(told, asWholeKey(event))).toEqual(told);
  expect(add(told, event)).toEqual(told);
});

test('as many as a run remembers, of the whole key, are heeded by a run that has seen them as a part', () => {
  const event = mergeWrites(Array.from({ length: 1_000 }, (_, index) => hset(`f${index}`)));
  expect(add(add(NOTHING_PENDING, event), asWholeKey(event)).hint.whole).toBe(true);
});

test('a failed write of the whole key is one for a run that has not seen it', () => {
  expect(add(NOTHING_PENDING, asWholeKey(hset('f2'))).count).toBe(1);
  expect(add(NOTHING_PENDING, asWholeKey(mergeWrites([hset('f2'), hset('f3')]))).count).toBe(2);
});

test('what is of the whole key already stays as it is', () => {
  for (const event of [asWholeKey(hset('f2')), wholeKeyAfter('r1', hset('f2'))]) expect(asWholeKey(event)).toBe(event);
});
