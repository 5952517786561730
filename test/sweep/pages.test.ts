/** How many keys make a page. */
import { expect, test } from 'vitest';
import { LinkMemory, type LinkSides } from '../../src/engine/index.js';
import type { RedisPort } from '../../src/redis/index.js';
import { Pages } from '../../src/sweep/pages.js';
import { partOfKeys } from '../../src/sweep/parts.js';

/** @param pages the keys of each, which a stand-in for a server tells whatever it is asked for */
async function countsOf(pages: readonly string[][], keysPerSecond?: number): Promise<number[]> {
  const counts: number[] = [];
  const source = {
    async scanKeys(_: string, { count }: { readonly count: number }) {
      const keys = pages[counts.push(count) - 1]!.map((key) => Buffer.from(key));
      return { cursor: '1', keys, own: 0, digest: null };
    },
  } as never as RedisPort;
  const sides: LinkSides = { source, target: source };
  const options = { options: {}, expiryToleranceMs: 0, rate: () => keysPerSecond };
  const of = new Pages({ ...sides, memory: new LinkMemory(sides) }, options);
  for (const _ of pages) await of.page({ ...partOfKeys(0), side: 'source' }, '0');
  return counts;
}

const keys = (count: number, bytes: number) => Array.from({ length: count }, () => 'k'.repeat(bytes));

test('few, so that a server is not held for long; as fast as it may be, many once its keys are known', async () => {
  const short = Array.from({ length: 4 }, () => keys(10, 20));
  expect(await countsOf(short)).toEqual([10, 10, 10, 10]);
  expect(await countsOf(short, 2_500)).toEqual([10, 25, 25, 25]);
  expect(await countsOf(short, 100)).toEqual([10, 10, 10, 10]);
  expect(await countsOf(short, 1_000_000)).toEqual([10, 400, 400, 400]);
});

test('few again where they are long', async () => {
  const pages = [keys(10, 20), keys(400, 20), keys(400, 6_554), keys(10, 6_554)];
  expect(await countsOf(pages, 1_000_000)).toEqual([10, 400, 400, 9]);
  expect(await countsOf([keys(10, 1_000_000), keys(1, 1_000_000)])).toEqual([10, 1]);
});

test('where a pattern leaves most out, as many more as bring a few', async () => {
  expect(await countsOf([keys(1, 20), keys(10, 20), [], [], [], []])).toEqual([10, 100, 100, 200, 400, 400]);
});

test('a long one among many that a pattern leaves out makes no small pages', async () => {
  expect(await countsOf([[], keys(1, 65_000), [], []], 1_000_000)).toEqual([10, 400, 400, 400]);
});

test('where many were long, pages grow again by and by', async () => {
  expect(await countsOf([keys(10, 65_536), [], [], [], [], []])).toEqual([10, 1, 2, 4, 8, 16]);
});
