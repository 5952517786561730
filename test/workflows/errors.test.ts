import { readFileSync } from 'node:fs';
import { expect, it } from 'vitest';
import { ERRORS, isPermanent, nextStep } from '../../workflows/error-types.js';

it('only what a person has to change first is permanent', () => {
  const permanent = Object.keys(ERRORS).filter(isPermanent);
  expect(permanent).toEqual([
    'SourceSuspicious',
    'NoPermission',
    'Unsupported',
    'ReservedKey',
    'NoMapping',
    'MappingFailed',
    'SeveralRows',
    'RowTooLarge',
  ]);
});

it('an error that keymend does not name is tried again, and has a next step all the same', () => {
  for (const type of ['Error', 'toString', '']) {
    expect(isPermanent(type)).toBe(false);
    expect(nextStep(type)).toBe('Read the message, mend the cause, then retry.');
  }
});

it('docs/errors.md has a row for each error type, with the same next step', () => {
  const page = readFileSync(new URL('../../docs/errors.md', import.meta.url), 'utf8');
  const [, ofKeys] = /^## Error types of a key$(.*?)^## /ms.exec(page)!;
  const rows = [...ofKeys!.matchAll(/^\| `([A-Z][A-Za-z]+)` \| .+ \| (.+) \|$/gm)].map(([, type, step]) => [
    type,
    step,
  ]);
  expect(rows).toEqual(Object.entries(ERRORS).map(([type, { nextStep }]) => [type, nextStep]));
});
