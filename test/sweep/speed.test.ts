/** How long a sweep will take, said from how fast it was lately. */
import { expect, test } from 'vitest';
import { Speed } from '../../src/sweep/speed.js';

const SECOND = 1_000;

test('nothing is said before something is done', () => {
  const speed = new Speed(40, 0);
  expect(speed.secondsUntilEnd(40, 5 * SECOND)).toBeNull();
  expect(speed.secondsUntilEnd(50, 10 * SECOND)).toBe(50);
});

test('a part that was faster is forgotten: the time that is left does not go on growing', () => {
  const speed = new Speed(0, 0);
  for (let second = 1; second <= 10; second++) speed.secondsUntilEnd(8 * second, second * SECOND);
  // From here on a tenth as fast: 20 % take 25 s of the old speed, and 250 s of this one.
  const told: number[] = [];
  for (let second = 1; second < 25; second++)
    told.push(speed.secondsUntilEnd(80 + 0.08 * second, (10 + second) * SECOND)!);
  for (let second = 25; second <= 200; second++)
    told.push(speed.secondsUntilEnd(80 + 0.08 * second, (10 + second) * SECOND)!);
  const behindWindow = told.slice(70);
  expect(behindWindow[0]).toBeCloseTo(20 / 0.08 - 71, -1);
  expect(behindWindow.toSorted((one, other) => other - one)).toEqual(behindWindow);
});
