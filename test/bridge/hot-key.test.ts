/** A key that fails all the time, with real Kafka and Temporal. */
import { expect, test } from 'vitest';
import { bridgeBed, until } from './bridge-bed.js';

const RECORDS = 400;

test('a key that keeps failing is signalled every two seconds or so, with all that has failed meanwhile', async () => {
  const bed = await bridgeBed();
  await bed.start();
  const begunAt = performance.now();
  for (let sent = 0; sent < RECORDS; sent++) await bed.produce({ id: `#${sent}`, key: 'hot' });
  await until(async () => {
    expect((await bed.committed())[0]).toBe(RECORDS);
  });
  const signals = await bed.signalledIds('hot');
  // Three at once, and from then on by the clock.
  expect(signals.length).toBeLessThanOrEqual(4 + (performance.now() - begunAt) / 2_000);
  expect(signals.length).toBeGreaterThan(1);
});

test('keys that fail now and then are not held up', async () => {
  const bed = await bridgeBed();
  await bed.start();
  for (let turn = 0; turn < 3; turn++) {
    await bed.produce(...['a', 'b'].map((key) => ({ id: `${key}#${turn}`, key })));
    await until(async () => expect((await bed.signalledIds('b')).flat()).toContain(`b#${turn}`));
  }
  await until(async () => expect(await bed.signalledIds('a')).toEqual([['a#0'], ['a#1'], ['a#2']]));
});
