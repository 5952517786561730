import { vi } from 'vitest';

/**
 * Only a net, below that of a test, so that who waited in vain says for what: on a busy machine all
 * takes long.
 */
export const NET_MS = 240_000;

/**
 * Resolves with what `check` gives, once it neither throws nor rejects. For what has no event to
 * wait for.
 * @throws what `check` threw last
 */
export function eventually<T>(check: () => T | Promise<T>): Promise<T> {
  return vi.waitFor(check, { timeout: NET_MS, interval: 20 });
}

/**
 * Resolves once `holds` does, looking again every few milliseconds; the test's own timeout bounds
 * it.
 */
export async function until(holds: () => boolean | Promise<boolean>): Promise<void> {
  while (!(await holds())) await new Promise((resolve) => setTimeout(resolve, 20));
}
