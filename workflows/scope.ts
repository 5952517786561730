/**
 * Which part of a key its failed writes say is to be looked at. It travels in payloads, which
 * Temporal bounds, so it is bounded in number and bytes; past that it is the whole key, which is
 * always right.
 */
import { jsonBytes } from './json-bytes.js';

/**
 * What the commands of the pending writes say about the part of the key to look at. `whole`
 * overrides the rest. Whether a command is about members or only about expiry is the engine's
 * knowledge, so both lists travel to it.
 */
export interface ScopeHint {
  readonly whole: boolean;
  /** Commands whose record named members; all the members are in `members`. */
  readonly memberCommands: readonly string[];
  /** Commands whose record named none. */
  readonly otherCommands: readonly string[];
  readonly members: { readonly utf8: readonly string[]; readonly base64: readonly string[] };
}

/** What a failed write says of its scope, possibly malformed. */
interface Said {
  readonly command?: unknown;
  readonly members?: unknown;
  readonly encoding?: unknown;
}

/** Past this many members looking at the whole key is cheaper. */
export const MEMBERS_LIMIT = 1_000;
/** The same in bytes, as JSON. */
const MEMBERS_BYTES_LIMIT = 64 * 1024;
/** More than any type of value has. */
const COMMANDS_LIMIT = 64;
/** A longer one is none. */
const COMMAND_LENGTH_LIMIT = 64;
export const NOWHERE: ScopeHint = {
  whole: false,
  memberCommands: [],
  otherCommands: [],
  members: { utf8: [], base64: [] },
};
export const WHOLE: ScopeHint = { ...NOWHERE, whole: true };

/** A hint that grows in place, and past its bounds is the whole key. */
export class ScopeSum {
  #whole = false;
  readonly #memberCommands = new Set<string>();
  readonly #otherCommands = new Set<string>();
  readonly #members = { utf8: new Set<string>(), base64: new Set<string>() };
  #memberBytes = 0;

  constructor(hint: ScopeHint) {
    this.add(hint);
  }

  add({ whole, memberCommands, otherCommands, members }: ScopeHint): void {
    if (whole) this.#whole = true;
    this.#addTo(this.#memberCommands, memberCommands);
    this.#addTo(this.#otherCommands, otherCommands);
    this.#addMembers('utf8', members.utf8);
    this.#addMembers('base64', members.base64);
  }

  addWrite({ command, members, encoding }: Said): void {
    if (command === undefined) this.#whole = true;
    else if (!Array.isArray(members) || members.length === 0) this.#addTo(this.#otherCommands, [command]);
    else {
      this.#addTo(this.#memberCommands, [command]);
      this.#addMembers(encoding === 'base64' ? 'base64' : 'utf8', members);
    }
  }

  toHint(): ScopeHint {
    if (this.#whole) return WHOLE;
    return {
      whole: false,
      memberCommands: [...this.#memberCommands],
      otherCommands: [...this.#otherCommands],
      members: { utf8: [...this.#members.utf8], base64: [...this.#members.base64] },
    };
  }

  #addTo(commands: Set<string>, added: readonly unknown[]): void {
    for (const command of added) {
      if (this.#whole) return;
      if (typeof command === 'string' && command.length <= COMMAND_LENGTH_LIMIT) commands.add(command);
      else this.#whole = true;
      if (commands.size > COMMANDS_LIMIT) this.#whole = true;
    }
  }

  #addMembers(encoding: 'utf8' | 'base64', added: readonly unknown[]): void {
    const members = this.#members[encoding];
    for (const member of added) {
      if (typeof member !== 'string') this.#whole = true;
      if (this.#whole || typeof member !== 'string') return;
      if (members.has(member)) continue;
      members.add(member);
      this.#memberBytes += jsonBytes(member);
      const { utf8, base64 } = this.#members;
      if (utf8.size + base64.size > MEMBERS_LIMIT || this.#memberBytes > MEMBERS_BYTES_LIMIT) this.#whole = true;
    }
  }
}

export function mergeHints(a: ScopeHint, b: ScopeHint): ScopeHint {
  const sum = new ScopeSum(a);
  sum.add(b);
  return sum.toHint();
}

/** Whether it is what `ScopeHint` says. */
export function isHint(hint: unknown): hint is ScopeHint {
  if (typeof hint !== 'object' || hint === null) return false;
  const { whole, memberCommands, otherCommands, members } = hint as Partial<ScopeHint>;
  const isRest = typeof whole === 'boolean' && isTexts(memberCommands) && isTexts(otherCommands);
  return isRest && typeof members === 'object' && members !== null && isTexts(members.utf8) && isTexts(members.base64);
}

export function isTexts(list: unknown): list is readonly string[] {
  return Array.isArray(list) && list.every((text) => typeof text === 'string');
}
