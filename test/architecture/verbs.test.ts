/** Whatever tells somebody to call a verb names one that is there. */
import { readdirSync, readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { expect, it } from 'vitest';

const root = new URL('../../', import.meta.url);
const read = (path: string) => readFileSync(new URL(path, root), 'utf8');

it('every verb that code or documents name is in the command line', () => {
  const verbs = [...read('src/cli/main.ts').matchAll(/^ {2}'?([\w-]+)'?: async \(\) => .*import/gm)].map(
    ([, verb]) => verb!,
  );
  expect(verbs).toContain('reconcile');
  const files = ['src', 'workflows', 'activities', 'docs'].flatMap((room) =>
    readdirSync(fileURLToPath(new URL(room, root)), { recursive: true, encoding: 'utf8' })
      .filter((name) => /\.(ts|md)$/.test(name))
      .map((name) => `${room}/${name}`),
  );
  const named = [...files, 'README.md'].flatMap((path) =>
    [...read(path).matchAll(/npx keymend ([a-z-]+)|`keymend ([a-z-]+)[^`$]*`/g)].map(
      ([, called, named]) => `${called ?? named} in ${path}`,
    ),
  );
  expect(named.length).toBeGreaterThan(30);
  expect(named.filter((where) => !verbs.includes(where.split(' ')[0]!))).toEqual([]);
});
