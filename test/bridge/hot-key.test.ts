/** A key that fails all the time, with real Kafka and Temporal. */
import { expect, test } from 'vitest';
import { Pace } from '../../src/bridge/pace.js';
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
  expect(await bed.signalledIds('a')).toEqual([['a#0'], ['a#1'], ['a#2']]);
});

test('where several bridges share a stream, each signals a key as much more rarely', async () => {
  const pace = new Pace();
  const { signal } = new AbortController();
  const turn = () => pace.turn('hot', signal, 2);
  const begunAt = performance.now();
  for (let signals = 0; signals < 4; signals++) await turn();
  expect(performance.now() - begunAt).toBeGreaterThan(3_900);
});
