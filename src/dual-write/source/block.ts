import { Command } from 'ioredis';
import type { Write } from './write.js';

/** Of a write that blocks without a bound. */
const LONGEST_BLOCK_MS = 24 * 60 * 60_000;

/** How long the write may wait at the source before it does anything, in ms; at most a day. */
export function blockMs({ command, args }: Write): number {
  // Only a Command can read the arguments, which is too much to make for each write.
  if (!Command.checkFlag('BLOCKING_COMMANDS', command)) return 0;
  const timeoutMs = new Command(command, [...args]).extractBlockingTimeout();
  if (timeoutMs === undefined || timeoutMs === null) return 0;
  return timeoutMs > 0 ? Math.min(timeoutMs, LONGEST_BLOCK_MS) : LONGEST_BLOCK_MS;
}
