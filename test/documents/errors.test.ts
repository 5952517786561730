/** docs/errors.md says of everything that an application can be told what it means. */
import { readdirSync } from 'node:fs';
import { expect, it } from 'vitest';
import * as dualWriter from '../../src/dual-write/index.js';
import * as keymend from '../../src/index.js';
import { pathOf, read } from './generated.js';

/** The first cells of the rows of a section. */
function namedIn(heading: string): string[] {
  const [, section] = new RegExp(`^## ${heading}$(.*?)(?=^## |(?![\\s\\S]))`, 'ms').exec(read('docs/errors.md'))!;
  return [...section!.matchAll(/^\| `(\w+)` \|/gm)].map(([, name]) => name!);
}

it('every code that the DualWriter gives to a record has a row', () => {
  const files = readdirSync(pathOf('src/dual-write'), { recursive: true, encoding: 'utf8' });
  const codes = files
    .filter((name) => name.endsWith('.ts'))
    .flatMap((name) => [...read(`src/dual-write/${name}`).matchAll(/\b(?:code: |CROSSED = )'([A-Z_]+)'/g)])
    .map(([, code]) => code!);
  expect(namedIn('Codes of records').toSorted()).toEqual([...new Set(codes)].toSorted());
});

it('every class of error that an application can import has a row', () => {
  const classes = Object.entries({ ...dualWriter, ...keymend })
    .filter(([, value]) => typeof value === 'function' && value.prototype instanceof Error)
    .map(([name]) => name);
  expect(namedIn('In your application').toSorted()).toEqual(classes.toSorted());
});

it('every type that keymend/client throws of its own has a row', () => {
  const types = [...read('src/client/failure.ts').matchAll(/^ \* - `(\w+)`:/gm)].map(([, type]) => type!);
  expect(types.length).toBeGreaterThan(4);
  expect(namedIn('In other services').toSorted()).toEqual(types.toSorted());
});
