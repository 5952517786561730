/** The Lua scripts of `lua/`, each read once, and the shape of what they take and answer. */
import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';

export interface Script {
  readonly source: string;
  readonly sha: string;
}

/** One row of a script's input: the key first, then what the script's header names. */
export type Row = readonly [key: Buffer, ...rest: (Buffer | string)[]];

/** One row of a script's answer. */
export type Cells = readonly (Buffer | number)[];

export const scripts = {
  inspect: load('inspect'),
  read: load('fields', 'content', 'read'),
  repair: load('fields', 'content', 'repair'),
  readRecipe: load('fields', 'content', 'lists', 'recipe', 'read-recipe'),
  rebuild: load('fields', 'content', 'lists', 'rebuild'),
  inspectMembers: load('fields', 'lists', 'members', 'inspect-members'),
  readMembers: load('fields', 'lists', 'members', 'read-members'),
  repairMembers: load('fields', 'lists', 'members', 'repair-members'),
  scanMembers: load('fields', 'lists', 'members', 'scan-members'),
  differingMembers: load('fields', 'lists', 'members', 'differing-members'),
} as const;

function load(...names: string[]): Script {
  const source = ['prelude', ...names]
    .map((name) => readFileSync(new URL(`./lua/${name}.lua`, import.meta.url), 'utf8'))
    .join('\n');
  return { source, sha: createHash('sha1').update(source).digest('hex') };
}
