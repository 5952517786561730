/** Which part of a key a failed write can have touched. */
import { touches } from '../commands/command.js';

/** The whole key; or named members and the expiry; with no members the expiry alone. */
export type Scope = { readonly kind: 'whole' } | { readonly kind: 'members'; readonly members: readonly Buffer[] };

export const WHOLE: Scope = { kind: 'whole' };

/** What is known of the commands that failed on a key. `whole` overrides the rest. */
interface WritesHint {
  readonly whole: boolean;
  /** Commands that named members; all of these are in `members`. */
  readonly memberCommands: readonly string[];
  /** Commands that named none. */
  readonly otherCommands: readonly string[];
  /** Each as text in one of two encodings. */
  readonly members: Readonly<Record<'utf8' | 'base64', readonly string[]>>;
}

/**
 * The narrowest scope that covers every command of the hint. What is not known to touch less
 * touches the whole key: a command without a record of its members, an unknown one, members of a
 * command that has none.
 */
export function scopeOf({ whole, memberCommands, otherCommands, members }: WritesHint): Scope {
  if (whole || !memberCommands.every((command) => touches(command) === 'members')) return WHOLE;
  if (!otherCommands.every((command) => touches(command) === 'expiry')) return WHOLE;
  const bytes = (encoding: 'utf8' | 'base64') => members[encoding].map((member) => Buffer.from(member, encoding));
  return { kind: 'members', members: [...bytes('utf8'), ...bytes('base64')] };
}
