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

const CONTENT = ['pack', 'replies', 'fields', 'values/content', 'values/fingerprint'];
const MEMBERS = ['unpack', 'fields', 'members/members'];
const PAGES = [...CONTENT, 'unpack', 'keyspace/page'];
const GROUPS = ['pack', 'replies', 'large/groups'];

export const scripts = {
  inspect: load(...CONTENT, 'values/inspect'),
  read: load(...CONTENT, 'values/reading', 'values/read'),
  repair: load(...CONTENT, 'room', 'mark', 'values/repair'),
  readRecipe: load(...CONTENT, 'values/recipe', 'values/reading', 'values/read-recipe'),
  rememberVersion: load('values/remember-version'),
  rebuild: load(...CONTENT, 'unpack', 'run-command', 'room', 'mark', 'values/rebuild'),
  inspectMembers: load(...MEMBERS, 'members/member-rows', 'members/inspect-members'),
  readMembers: load(...MEMBERS, 'members/member-rows', 'members/read-members'),
  repairMembers: load(...MEMBERS, 'room', 'mark', 'members/repair-members'),
  digestMembers: load(...MEMBERS, 'members/digest-members'),
  piece: load(...MEMBERS, 'members/piece'),
  scanMembers: load(...MEMBERS, 'pack', 'members/scan-members'),
  differingMembers: load(...MEMBERS, 'pack', 'members/differing-members'),
  watched: load(...GROUPS, 'large/watched'),
  digestString: load('large/digest-string'),
  digestList: load('pack', 'large/behind', 'large/ranges', 'large/digest-list'),
  digestStream: load('pack', 'large/behind', 'large/ranges', 'large/digest-stream'),
  digestPending: load('pack', 'large/behind', 'large/pending', 'large/digest-pending'),
  readPending: load('large/behind', 'large/ranges', 'large/pending', 'large/read-pending'),
  grow: load('unpack', 'run-command', 'large/temporary', 'large/grow'),
  growByCopy: load('large/temporary', 'large/behind', 'large/grow-by-copy'),
  swap: load(...GROUPS, 'mark', 'large/swap'),
  scanPage: load(...PAGES, 'keyspace/scan-page'),
  digestKeys: load(...PAGES, 'keyspace/digest-keys'),
  absentKeys: load('pack', 'unpack', 'keyspace/absent-keys'),
  lease: load('lease'),
} as const;

function load(...names: string[]): Script {
  const source = ['prelude', ...names]
    .map((name) => readFileSync(new URL(`../lua/${name}.lua`, import.meta.url), 'utf8'))
    .join('\n');
  return { source, sha: createHash('sha1').update(source).digest('hex') };
}
