/**
 * One holder at a time per folder, also when the one before was killed.
 *
 * Everybody puts down a claim, a file of its own, and then looks for claims of others that still
 * live. Of two that claim at once, at least one sees the other and withdraws. A claim dies with its
 * process and is then removed by whoever meets it, which is safe because its name is never used
 * again.
 */
import { existsSync, mkdirSync, readdirSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { ulid } from 'ulid';
import { readIfPresent, writeAtomically } from './files.js';
import { birthOf } from './process.js';

const CLAIM = /^lock\.[0-9A-Z]{26}$/;
const ASK_AGAIN_MS = 50;

interface LockOptions {
  /** Created when missing. */
  readonly folder: string;
  /** Called once when somebody else holds the lock, with the pid. */
  readonly onWait: (pid: number) => void;
  readonly signal?: AbortSignal | undefined;
}

/**
 * Runs `task` while nobody else runs one under the lock of the same folder. Waits for its turn
 * without bound.
 */
export async function withLock<T>(options: LockOptions, task: () => Promise<T>): Promise<T> {
  mkdirSync(options.folder, { recursive: true });
  const claim = `lock.${ulid()}`;
  let told = false;
  for (let asked = 0; ; asked++) {
    let other = holderBeside(options.folder, claim);
    if (other === undefined) {
      writeAtomically(join(options.folder, claim), `${process.pid}\n${birthOf(process.pid)}`);
      other = holderBeside(options.folder, claim);
      if (other === undefined) break;
      rmSync(join(options.folder, claim));
    }
    // Of two that claim at the same moment both withdraw, and then one of them holds it.
    if (asked > 0 && !told) {
      options.onWait(other);
      told = true;
    }
    // Not all after the same time: those that withdrew together must not claim together again and
    // again.
    await sleep(ASK_AGAIN_MS * (1 + Math.random()));
    options.signal?.throwIfAborted();
  }
  try {
    return await task();
  } finally {
    rmSync(join(options.folder, claim), { force: true });
  }
}

/** @returns the pid of whoever holds the lock of a folder now, if anybody does */
export function holderOf(folder: string): number | undefined {
  return existsSync(folder) ? holderBeside(folder, '') : undefined;
}

/** @returns the pid of a live claim other than `own`, if there is one */
function holderBeside(folder: string, own: string): number | undefined {
  for (const name of readdirSync(folder)) {
    if (!CLAIM.test(name) || name === own) continue;
    const [pid = '', birth] = (readIfPresent(join(folder, name)) ?? '').split('\n');
    if (birth !== undefined && birthOf(Number(pid)) === birth) return Number(pid);
    rmSync(join(folder, name), { force: true });
  }
  return undefined;
}
