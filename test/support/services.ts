/** The real services and programs that tests run against. */
import { describe, inject } from 'vitest';
import { type Provision, StackError, type StackInfo } from '../../src/stack/index.js';
import type {} from './global-setup.js';

/** The stack that serves the whole run: keep keys, topics and workflow IDs of your test apart from those of others. */
export function stack(): StackInfo {
  return inject('stack');
}

/**
 * A suite that needs a program which can't be had everywhere. Without it, the suite is skipped and its name says why; in CI
 * nothing may be skipped, so there it fails.
 * @example await describeWith('retry schedule', provideTimeSkippingServer, (executable) => { test('…', …) });
 */
export async function describeWith(
  title: string,
  provide: (provision: Provision) => Promise<string>,
  suite: (program: string) => void,
): Promise<void> {
  const report = (line: string) => process.stderr.write(`[${title}] ${line}\n`);
  try {
    const program = await provide({ environment: process.env, report });
    describe(title, () => suite(program));
  } catch (error) {
    if (!(error instanceof StackError) || process.env.CI) throw error;
    describe.skip(`${title} (skipped: ${error.message})`, () => suite(''));
  }
}
