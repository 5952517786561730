/** How fast a redrive is, by a clock of its own: the steps of the workflow without Temporal. */
import { expect, test } from 'vitest';
import { NOTHING_REDRIVEN, type RedriveInput } from '../../workflows/redrive-messages.js';
import { newRun, nextStep, takeStep } from '../../workflows/redrive-run.js';

/**
 * @param takesMs for how long a step is under way, by its number and what its letters are worth
 * @returns how many seconds all letters take
 */
function secondsFor(letters: number, rate: number, takesMs: (step: number, worthMs: number) => number): number {
  const input: RedriveInput = { action: 'redrive', filter: {}, by: 'ann', rate };
  const run = newRun(input, 'r', 0);
  let now = 0;
  for (let [left, step] = [letters, 1]; left > 0; step++) {
    const { mostKeys, mostLetters } = nextStep(run, input);
    const taken = Math.min(left, mostKeys, mostLetters);
    left -= taken;
    now = Math.max(now, run.dueAt) + takesMs(step, (taken * 1000) / rate);
    const counts = { ...NOTHING_REDRIVEN, seen: taken, redriven: taken, keys: taken, healed: taken };
    const nothing = { resolved: [], failed: [], equalKeys: [], waitsFor: null, storeId: null };
    takeStep(run, { ...nothing, passed: {}, ends: {}, isLast: left === 0, counts }, input, now);
  }
  return now / 1000;
}

test.each([
  ['take no time', () => 0],
  ['take nearly as long as they may', (_step: number, worthMs: number) => 0.9 * worthMs],
  ['take a second more now and then', (step: number, worthMs: number) => (step % 20 === 0 ? worthMs + 1_000 : 0)],
])('a redrive whose steps %s keeps its rate within a twentieth', (_what, takesMs) => {
  for (const rate of [3, 100, 1_000, 10_000]) {
    const seconds = secondsFor(100 * rate, rate, takesMs);
    expect(Math.abs(100 / seconds - 1), `${rate} a second`).toBeLessThan(0.05);
  }
});

test('what a redrive has lost while it stood still it does not catch up in one go', () => {
  const seconds = secondsFor(100_000, 1_000, (step) => (step === 10 ? 60_000 : 0));
  expect(seconds).toBeGreaterThan(60 + 95);
  expect(seconds).toBeLessThan(60 + 101);
});
