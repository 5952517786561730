/** What can go wrong with the local services, as one line for a person. */

/**
 * A local service can't be had, started or reached. The message is one line: what is missing or
 * wrong, and what to do; for a missing program it names the two ways to get it.
 */
export class StackError extends Error {
  override readonly name = 'StackError';
}

/** The first line of what went wrong, fit to stand inside another line. */
export function reasonOf(error: unknown): string {
  const text = error instanceof Error ? error.message : String(error);
  return text.split('\n', 1)[0]?.trim() || 'no reason given';
}
