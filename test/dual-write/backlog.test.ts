import { expect, it } from 'vitest';
import { Backlog } from '../../src/dual-write/backlog.js';

const turn = () => new Promise((resolve) => setImmediate(resolve));

async function handled(backlog: Backlog<number>): Promise<void> {
  while (backlog.size > 0) await turn();
}

it('handles everything, in its order, but nothing in the turn in which it comes', async () => {
  const done: number[] = [];
  const backlog = new Backlog<number>((item) => done.push(item));
  const all = Array.from({ length: 5000 }, (_, index) => index);
  for (const item of all) {
    backlog.add(item);
    if (item % 1500 === 0) await turn();
  }
  const { length } = done;
  backlog.add(5000);
  expect(done).toHaveLength(length);
  await handled(backlog);
  expect(done).toEqual([...all, 5000]);
});

it('lets the event loop have its turn between the slices of what comes at once', async () => {
  const done: number[] = [];
  const backlog = new Backlog<number>((item) => done.push(item));
  for (let item = 0; item < 5000; item++) backlog.add(item);
  const sizes: number[] = [];
  while (backlog.size > 0) {
    await turn();
    sizes.push(backlog.size);
  }
  expect(sizes.length).toBeGreaterThan(5);
  expect(sizes[0]).toBeGreaterThan(3000);
});

it('handles what is left when it is drained, and goes on behind what failed', () => {
  const done: number[] = [];
  const backlog = new Backlog<number>((item) => {
    if (item === 1) throw new Error('the one');
    done.push(item);
  });
  for (let item = 0; item < 4; item++) backlog.add(item);
  expect(() => backlog.drain()).toThrow('the one');
  backlog.drain();
  expect(done).toEqual([0, 2, 3]);
  expect(backlog.size).toBe(0);
});
