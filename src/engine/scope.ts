/** Which part of a key a failed write can have touched. */
import type { KeyEncoding, ScopeHint } from '../../workflows/messages.js';
import { touches } from './commands.js';

/** The whole key; or named members and the expiry; with no members the expiry alone. */
export type Scope = { readonly kind: 'whole' } | { readonly kind: 'members'; readonly members: readonly Buffer[] };

export const WHOLE: Scope = { kind: 'whole' };

/**
 * The narrowest scope that covers every command of the hint. What is not known to touch less touches the whole key: a command
 * without a record of its members, an unknown one, members of a command that has none.
 */
export function scopeOf({ whole, memberCommands, otherCommands, members }: ScopeHint): Scope {
  if (whole || !memberCommands.every((command) => touches(command) === 'members')) return WHOLE;
  if (!otherCommands.every((command) => touches(command) === 'expiry')) return WHOLE;
  const bytes = (encoding: KeyEncoding) => members[encoding].map((member) => Buffer.from(member, encoding));
  return { kind: 'members', members: [...bytes('utf8'), ...bytes('base64')] };
}
