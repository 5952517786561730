/** docs/configuration.md says of every setting what the schema says. */
import { expect, it } from 'vitest';
import { pathOf, withGenerated } from './generated.js';
import { configurationReference, undescribed } from './settings.js';

const PAGE = 'docs/configuration.md';

it('docs/configuration.md has every setting as the schema has it; `npm run docs` writes it anew', async () => {
  await expect(withGenerated(PAGE, configurationReference())).toMatchFileSnapshot(pathOf(PAGE));
});

it('every setting says what it is for', () => {
  expect(undescribed()).toEqual([]);
});
