/**
 * Bridge and worker of a stack, as a process that is found again like its services are: it may
 * outlive the command that started it, be it because it is kept or because that command was killed.
 */
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { StackError } from '../errors.js';
import { readIfPresent } from './files.js';
import { type LiveProcess, launch, logOf, processOf, terminate } from './process.js';

/** Also the name of its folder in the data directory. */
export const KEYMEND = 'keymend';
/** How a person calls it. */
export const KEYMEND_TITLE = 'bridge and worker';

/** Only a net, for a busy machine: one that ends is noticed at once. */
const READY_WITHIN_MS = 180_000;
/** More than a worker takes for what is under way. */
const STOP_GRACE_MS = 30_000;
/** What it logs when all of it is up. */
const READY = 'bridge is ready';
const ASK_AGAIN_MS = 50;

export interface KeymendOptions {
  /** The stack's data directory, absolute. */
  readonly directory: string;
  /** The script that runs `keymend`. */
  readonly cli: string;
  /** The configuration, absolute. */
  readonly config: string;
  readonly environment: NodeJS.ProcessEnv;
  readonly signal: AbortSignal;
}

/**
 * Runs `keymend start` in place of the one that runs for this directory, if any; resolves when it
 * is ready.
 * @throws StackError when it ends or stays silent, with what it said last; the reason of `signal`
 *   once that is aborted
 */
export async function startKeymend(options: KeymendOptions): Promise<void> {
  const { directory, cli, config, environment, signal } = options;
  await stopKeymend(directory);
  const folder = join(directory, KEYMEND);
  await launch({ folder, program: process.execPath, arguments: [cli, 'start', '--config', config], environment });
  const deadline = performance.now() + READY_WITHIN_MS;
  for (;;) {
    const found = findKeymend(directory);
    if (found?.isReady) return;
    if (found === undefined || performance.now() > deadline) {
      const said = (readIfPresent(logOf(folder)) ?? '').trim().split('\n').at(-1) || 'it said nothing';
      throw new StackError(`${KEYMEND_TITLE} did not start: ${said}; see ${logOf(folder)}`);
    }
    signal.throwIfAborted();
    await sleep(ASK_AGAIN_MS);
  }
}

/** Ends it, with what it has under way. @returns what was done */
export function stopKeymend(directory: string): ReturnType<typeof terminate> {
  return terminate(join(directory, KEYMEND), STOP_GRACE_MS);
}

/** @returns the one that runs; `isReady`: all of it has come up */
export function findKeymend(directory: string): (LiveProcess & { readonly isReady: boolean }) | undefined {
  const folder = join(directory, KEYMEND);
  const found = processOf(folder);
  return found && { ...found, isReady: readIfPresent(logOf(folder))?.includes(READY) === true };
}
