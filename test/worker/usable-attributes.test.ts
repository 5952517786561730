/** Which search attributes can be written, as a worker knows it. */
import { expect, it } from 'vitest';
import { UsableAttributes } from '../../src/temporal/search-attributes.js';
import { SEARCH_ATTRIBUTES } from '../../workflows/messages.js';

const ALL = Object.values(SEARCH_ATTRIBUTES);
const silent = () => {};

/** A Temporal that answers so. No real one is slow just when it is asked for this. */
function answering(listSearchAttributes: () => Promise<unknown>) {
  return { operatorService: { listSearchAttributes } } as unknown as ConstructorParameters<typeof UsableAttributes>[0];
}

it.each([
  ['that never answers', () => new Promise(silent)],
  ['that can not be reached', () => Promise.reject(new Error('away'))],
])('a Temporal %s leaves what was known at start', async (_which, list) => {
  expect(await new UsableAttributes(answering(list), 'default', null, silent).get()).toEqual(ALL);
  expect(await new UsableAttributes(answering(list), 'default', 'KeymendState missing', silent).get()).toEqual([]);
});

it('what it says is believed, and what changes is told of', async () => {
  const told: (string | null)[] = [];
  const list = async () => ({ customAttributes: { KeymendLink: 2, KeymendState: 2, KeymendError: 4 } });
  const usable = new UsableAttributes(answering(list), 'default', null, (problem) => told.push(problem));
  expect(await usable.get()).toEqual(['KeymendLink', 'KeymendState']);
  expect(told).toEqual([expect.stringContaining('KeymendError of type Double instead of Keyword')]);
});
