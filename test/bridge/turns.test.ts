/** Turns of one key, by the real clock: three at once, then one every two seconds. */
import { setTimeout as sleep } from 'node:timers/promises';
import { expect, test } from 'vitest';
import type { RecordedWrite } from '../../src/bridge/group.js';
import type { SignalEnd } from '../../src/bridge/signaller.js';
import { Turns } from '../../src/bridge/turns.js';
import { gate, until } from './bridge-bed.js';

const write = (id: string) => ({ event: { id } }) as RecordedWrite;
const idsOf = (writes: readonly RecordedWrite[]) => writes.map(({ event }) => event.id);
const TAKEN: SignalEnd = { kind: 'taken' };
const never = new AbortController().signal;

function turnsOf(end: (ids: readonly string[]) => Promise<SignalEnd> = async () => TAKEN) {
  const turns = new Turns();
  const told: string[][] = [];
  const tell = (id: string, abort = never) =>
    turns.tell('hot', [write(id)], abort, async (writes) => {
      const ids = idsOf(writes);
      told.push(ids);
      return end(ids);
    });
  return { told, tell };
}

/** Those of which each has its turn at once. */
async function useUp(tell: (id: string) => Promise<SignalEnd>): Promise<void> {
  for (const id of ['1', '2', '3']) await tell(id);
}

test('what fails while the key waits for its turn goes along, and all of them are told how it ended', async () => {
  const refused: SignalEnd = { kind: 'refused', code: 'NO', message: 'no', attempts: 1 };
  const { told, tell } = turnsOf(async (ids) => (ids.length > 1 ? refused : TAKEN));
  await useUp(tell);
  const together = await Promise.all(['4', '5', '6'].map((id) => tell(id)));
  expect(together).toEqual([refused, refused, refused]);
  expect(told).toEqual([['1'], ['2'], ['3'], ['4', '5', '6']]);
});

test('what comes while the key is told waits for that, and goes behind it', async () => {
  const { open, opened } = gate();
  const { told, tell } = turnsOf(async () => {
    await opened;
    return TAKEN;
  });
  const all = ['1', '2', '3'].map((id, index) => sleep(index).then(() => tell(id)));
  await until(() => expect(told).toEqual([['1']]));
  // Neither has waited for a turn.
  await sleep(50);
  expect(told).toEqual([['1']]);
  open();
  expect(await Promise.all(all)).toEqual([TAKEN, TAKEN, TAKEN]);
  expect(told).toEqual([['1'], ['2', '3']]);
});

test('where the one that they went along with is wanted no more, the others go on by themselves', async () => {
  const { told, tell } = turnsOf();
  await useUp(tell);
  const unwanted = new AbortController();
  const first = tell('4', unwanted.signal);
  const others = ['5', '6'].map((id) => tell(id));
  unwanted.abort();
  expect(await first).toEqual({ kind: 'aborted' });
  expect(await Promise.all(others)).toEqual([TAKEN, TAKEN]);
  expect(told.slice(3)).toEqual([['5', '6']]);
});

test('what can not be told for an unexpected reason holds up nothing behind it', async () => {
  const { told, tell } = turnsOf(async (ids) => {
    if (ids.includes('1')) throw new Error('a bug');
    return TAKEN;
  });
  await expect(tell('1')).rejects.toThrow('a bug');
  expect(await tell('2')).toEqual(TAKEN);
  expect(told).toEqual([['1'], ['2']]);
});
