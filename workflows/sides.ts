/** What both sides have under a key, as a person reads it. Pure. */
import type { SideSeen, SidesSeen } from './messages.js';

const NOTHING = 'none';
const UNITS: Readonly<Record<string, string>> = {
  string: 'bytes',
  hash: 'fields',
  list: 'elements',
  set: 'members',
  zset: 'members',
  stream: 'entries',
};

const ONE: Readonly<Record<string, string>> = {
  bytes: 'byte',
  fields: 'field',
  elements: 'element',
  members: 'member',
  entries: 'entry',
};

/** One line: what differs, and what each side has. Never a value. */
export function describeSides({ source, target }: SidesSeen): string {
  return `${difference(source, target)}: source ${describeSide(source)}; target ${describeSide(target)}`;
}

function difference(source: SideSeen | null, target: SideSeen | null): string {
  if (source === null || target === null) return 'one side did not answer';
  if (source.type === NOTHING && target.type === NOTHING) return 'neither side has it';
  if (source.type === NOTHING) return 'the target alone has it';
  if (target.type === NOTHING) return 'the target lacks it';
  if (source.type !== target.type) return 'the types differ';
  const parts = [
    ...(source.size === target.size ? [] : ['size']),
    ...(expireTogether(source, target) ? [] : ['expiry']),
  ];
  if (parts.length > 0) return `${parts.join(' and ')} differ${parts.length === 1 ? 's' : ''}`;
  return 'same type, size and expiry, so the content differs if anything does';
}

/** Less is what a mirrored write takes, or what the two clocks are apart. */
const TOGETHER_MS = 1_000;

function expireTogether(one: SideSeen, other: SideSeen): boolean {
  if (one.expiresAt === other.expiresAt) return true;
  if (one.expiresAt === null || other.expiresAt === null) return false;
  return Math.abs(Date.parse(one.expiresAt) - Date.parse(other.expiresAt)) <= TOGETHER_MS;
}

function describeSide(side: SideSeen | null): string {
  if (side === null) return 'not known';
  const { type, size, expiresAt } = side;
  if (type === NOTHING) return 'nothing';
  const unit = UNITS[type] ?? 'elements';
  const many = size === null ? (type in UNITS ? `, many ${unit}` : '') : `, ${size} ${size === 1 ? ONE[unit] : unit}`;
  return `${type}${many}, ${expiresAt === null ? 'no expiry' : `expires ${expiresAt}`}`;
}
