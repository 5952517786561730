import { expect, it } from 'vitest';
import { turns } from '../../src/cli/bulk/pace.js';

it('as many come as the rate says, and no more', async () => {
  const turn = turns(200);
  const begun = performance.now();
  for (let count = 0; count < 60; count++) await turn();
  // The last begins when those before it have had their time.
  expect(performance.now() - begun).toBeGreaterThanOrEqual((59 * 1_000) / 200 - 5);
});

it('without a rate nobody waits', async () => {
  const turn = turns(undefined);
  await Promise.all(Array.from({ length: 10_000 }, turn));
});
