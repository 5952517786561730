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
export type Cells = readonly (Buffer | Integer)[];

/** An integer of a reply: digits on connections of lifetime `single`. */
export type Integer = number | string;

const CONTENT = ['pack', 'replies', 'fields', 'content', 'fingerprint'];
const MEMBERS = ['unpack', 'fields', 'members'];
const GROUPS = ['pack', 'replies', 'groups'];

export const scripts = {
  inspect: load(...CONTENT, 'inspect'),
  read: load(...CONTENT, 'reading', 'read'),
  repair: load(...CONTENT, 'room', 'mark', 'repair'),
  readRecipe: load(...CONTENT, 'recipe', 'reading', 'read-recipe'),
  rebuild: load(...CONTENT, 'unpack', 'run-command', 'room', 'mark', 'rebuild'),
  inspectMembers: load(...MEMBERS, 'member-rows', 'inspect-members'),
  readMembers: load(...MEMBERS, 'member-rows', 'read-members'),
  repairMembers: load(...MEMBERS, 'room', 'mark', 'repair-members'),
  digestMembers: load(...MEMBERS, 'digest-members'),
  piece: load(...MEMBERS, 'piece'),
  scanMembers: load(...MEMBERS, 'pack', 'scan-members'),
  differingMembers: load(...MEMBERS, 'pack', 'differing-members'),
  watched: load(...GROUPS, 'watched'),
  digestString: load('digest-string'),
  digestList: load('pack', 'behind', 'ranges', 'digest-list'),
  digestStream: load('pack', 'behind', 'ranges', 'digest-stream'),
  digestPending: load('pack', 'behind', 'pending', 'digest-pending'),
  readPending: load('behind', 'ranges', 'pending', 'read-pending'),
  grow: load('unpack', 'run-command', 'temporary', 'grow'),
  growByCopy: load('temporary', 'behind', 'grow-by-copy'),
  swap: load(...GROUPS, 'mark', 'swap'),
  lease: load('lease'),
} as const;

function load(...names: string[]): Script {
  const source = ['prelude', ...names]
    .map((name) => readFileSync(new URL(`./lua/${name}.lua`, import.meta.url), 'utf8'))
    .join('\n');
  return { source, sha: createHash('sha1').update(source).digest('hex') };
}
