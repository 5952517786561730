/** Every link of a page to another page, or to a place in it, leads there. */
import { existsSync, statSync } from 'node:fs';
import { dirname, join, normalize } from 'node:path';
import { expect, it } from 'vitest';
import { pages, pathOf, read } from './generated.js';

/** Without code, in which nothing is a link. */
function prose(page: string): string {
  return read(page)
    .replace(/^ *```[\s\S]*?^ *```/gm, '')
    .replace(/`[^`\n]*`/g, (code) => code.replace(/[[\]()]/g, ''));
}

/** The names that GitHub gives to the headings of a page. */
function anchorsOf(page: string): Set<string> {
  const seen = new Map<string, number>();
  const headings = read(page)
    .replace(/^ *```[\s\S]*?^ *```/gm, '')
    .matchAll(/^#{1,6} (.+)$/gm);
  return new Set(
    [...headings].map(([, heading]) => {
      const text = heading!.replace(/\[([^\]]*)\]\([^)]*\)/g, '$1');
      const name = text
        .toLowerCase()
        .replace(/[^\p{L}\p{N}\s_-]/gu, '')
        .trim()
        .replaceAll(' ', '-');
      const times = seen.get(name) ?? 0;
      seen.set(name, times + 1);
      return times === 0 ? name : `${name}-${times}`;
    }),
  );
}

function problemOf(page: string, link: string): string | null {
  const [path, anchor] = link.split('#') as [string, string | undefined];
  const target = path === '' ? page : normalize(join(dirname(page), path));
  if (!existsSync(pathOf(target))) return `${page}: ${link} is not there`;
  if (anchor === undefined || statSync(pathOf(target)).isDirectory()) return null;
  return target.endsWith('.md') && anchorsOf(target).has(anchor)
    ? null
    : `${page}: ${target} has no heading #${anchor}`;
}

it('every relative link of every page leads to a file, and to a heading in it', () => {
  const links = pages().flatMap((page) =>
    [...prose(page).matchAll(/\]\(([^)\s]+)\)/g)]
      .map(([, link]) => ({ page, link: link! }))
      .filter(({ link }) => !/^[a-z]+:/.test(link)),
  );
  expect(links.length).toBeGreaterThan(80);
  expect(links.map(({ page, link }) => problemOf(page, link)).filter((problem) => problem !== null)).toEqual([]);
});

it('every page of docs is reached from README by links', () => {
  const reached = new Set<string>();
  const follow = (page: string) => {
    if (reached.has(page) || !existsSync(pathOf(page))) return;
    reached.add(page);
    for (const [, link] of prose(page).matchAll(/\]\(([^)\s#]+\.md)(?:#[^)]*)?\)/g))
      if (!/^[a-z]+:/.test(link!)) follow(normalize(join(dirname(page), link!)));
  };
  follow('README.md');
  // The decisions are a list of their own: README links to their folder.
  const unreached = pages().filter((page) => page.startsWith('docs/') && !page.startsWith('docs/decisions/'));
  expect(unreached.filter((page) => !reached.has(page))).toEqual([]);
});
