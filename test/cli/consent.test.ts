/** What a person is asked before many keys are told something. */
import { expect, it } from 'vitest';
import { questionOf } from '../../src/cli/bulk/consent.js';

it('how many keys it is about, where that is known soon', async () => {
  const asked = (keys: number | null) =>
    questionOf({ what: 'every escalated key of link a', count: async () => keys }, 'give up on what is pending');
  expect(await asked(80_000)).toBe(
    'tell every escalated key of link a, about 80000 now, to give up on what is pending',
  );
  expect(await asked(null)).toBe('tell every escalated key of link a to give up on what is pending');
});
