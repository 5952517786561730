/** The real services and programs that tests run against. */
import { describe, inject } from 'vitest';
import { StackError } from '../../src/stack/errors.js';
import type { StackInfo } from '../../src/stack/index.js';
import type { Provision } from '../../src/stack/programs/index.js';

/**
 * The stack that serves the whole run: keep keys, topics and workflow IDs of your test apart from
 * those of others.
 */
export function stack(): StackInfo {
  return inject('stack');
}

/**
 * A suite that needs a program (or several) which can't be had everywhere. Without it, the suite is
 * skipped and its name says why; in CI nothing may be skipped, so there it fails.
 * @example await describeWith('retries', provideTimeSkippingServer, (executable) => { test(…) });
 */
export async function describeWith<T = string>(
  title: string,
  provide: (provision: Provision) => Promise<T>,
  suite: (provided: T) => void,
): Promise<void> {
  const report = (line: string) => process.stderr.write(`[${title}] ${line}\n`);
  try {
    const provided = await provide({ environment: process.env, report });
    describe(title, () => suite(provided));
  } catch (error) {
    if (!(error instanceof StackError) || process.env.CI) throw error;
    describe.skip(`${title} (skipped: ${error.message})`, () => suite('' as T));
  }
}
