/** One stack of real services for the whole test run, in a temporary directory on free ports. */
import { mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { TestProject } from 'vitest/node';
import { type StackInfo, stackDown, stackUp } from '../../src/stack/index.js';
import { bundleName, bundleWorkflows } from '../../src/worker/workflow-code.js';

declare module 'vitest' {
  export interface ProvidedContext {
    stack: StackInfo;
    /** The path of the workflow code. */
    workflowBundle: string;
  }
}

const PREFIX = 'keymend-test-stack-';

function report(line: string): void {
  process.stderr.write(`[stack] ${line}\n`);
}

/**
 * Starts what the environment gives no address for (`KEYMEND_STACK_…`), and stops it after the last
 * test.
 */
export default async function setup(project: TestProject): Promise<() => Promise<void>> {
  await removeLeftovers();
  const directory = mkdtempSync(join(tmpdir(), `${PREFIX}${process.pid}-`));
  try {
    project.provide('stack', await stackUp({ directory, environment: process.env, report, preferredPorts: 'free' }));
    const bundle = join(directory, bundleName(false));
    writeFileSync(bundle, (await bundleWorkflows()).code);
    project.provide('workflowBundle', bundle);
  } catch (error) {
    await tearDown(directory);
    throw error;
  }
  return () => tearDown(directory);
}

async function tearDown(directory: string): Promise<void> {
  await stackDown({ directory, report: () => {} });
  rmSync(directory, { recursive: true, force: true });
}

/** A run that was killed could not stop its services. */
async function removeLeftovers(): Promise<void> {
  for (const name of readdirSync(tmpdir())) {
    const owner = name.startsWith(PREFIX) ? Number(name.slice(PREFIX.length).split('-')[0]) : undefined;
    if (owner !== undefined && !isAlive(owner)) await tearDown(join(tmpdir(), name));
  }
}

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'EPERM';
  }
}
