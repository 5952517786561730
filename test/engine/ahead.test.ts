import { setTimeout as sleep } from 'node:timers/promises';
import { expect, test } from 'vitest';
import { ahead } from '../../src/engine/large/ahead.js';

async function all<Item>(items: AsyncIterable<Item>): Promise<Item[]> {
  const seen: Item[] = [];
  for await (const item of items) seen.push(item);
  return seen;
}

test('answers in order, whatever ends first', async () => {
  const work = (item: number) => sleep(item % 2 === 0 ? 5 : 0).then(() => item * 10);
  expect(await all(ahead([1, 2, 3, 4, 5], 3, work))).toEqual([10, 20, 30, 40, 50]);
});

test('has at most so many under way, and so many where there are enough', async () => {
  let underWay = 0;
  let most = 0;
  const work = async () => {
    most = Math.max(most, ++underWay);
    await sleep(1);
    underWay--;
  };
  await all(ahead(Array(10).fill(0), 4, work));
  expect(most).toBe(4);
});

test('begins in order, also behind work that was done ahead itself', async () => {
  const begun: number[] = [];
  const slowFirst = ahead([3, 2, 1], 3, (item) => sleep(item * 3).then(() => item));
  await all(ahead(slowFirst, 3, async (item) => begun.push(item)));
  expect(begun).toEqual([3, 2, 1]);
});

test('throws what the work threw at its place, and nothing goes unhandled', async () => {
  const seen: number[] = [];
  const work = async (item: number) => {
    if (item >= 3) throw new Error(`${item}`);
    return item;
  };
  const run = async () => {
    for await (const item of ahead([1, 2, 3, 4, 5], 4, work)) seen.push(item);
  };
  await expect(run()).rejects.toThrow('3');
  expect(seen).toEqual([1, 2]);
});

test('has nothing at work any more when it ends, because one has failed or nobody wants more', async () => {
  let underWay = 0;
  const work = async (item: number) => {
    if (item === 1) throw new Error('the first');
    underWay++;
    await sleep(1);
    underWay--;
  };
  await expect(all(ahead([1, 2, 3], 3, work))).rejects.toThrow('the first');
  expect(underWay).toBe(0);
  for await (const _ of ahead([2, 3, 4], 3, work)) break;
  expect(underWay).toBe(0);
});
