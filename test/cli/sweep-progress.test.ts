/** How far a sweep is, as its line on the terminal says it. */
import { expect, it } from 'vitest';
import { describeProgress } from '../../src/cli/sweeps/sweep-progress.js';
import { SUMMARY } from '../workflows/other-types.js';

const COMPARING = { ...SUMMARY, state: 'comparing', percent: 40, etaSeconds: 7 } as const;

it('says how far it is, and about how long it still takes', () => {
  expect(describeProgress(COMPARING)).toBe(
    '[########............], 40.0 %, 10 keys compared, 0 differ, about 7 s left',
  );
});

it.each([
  ['where nobody knows it yet', { etaSeconds: null }],
  ['of one that is paused', { state: 'paused' }],
  ['of one that is done', { state: 'done' }],
] as const)('says no time that is left %s', (_when, now) => {
  expect(describeProgress({ ...COMPARING, ...now })).toMatch(/10 keys compared, 0 differ$/);
});
