/**
 * Getting a program that is not there yet: ways tried in order, and a cache that is never half
 * full.
 */
import { existsSync, mkdirSync, mkdtempSync, readdirSync, renameSync, rmSync } from 'node:fs';
import { basename, dirname, join } from 'node:path';
import { cacheFolder } from '../environment.js';
import { reasonOf, StackError } from '../errors.js';
import { withLock } from '../processes/lock.js';
import type { Report } from '../progress.js';

/** What every way of getting a program needs to know. */
export interface Provision {
  readonly environment: NodeJS.ProcessEnv;
  readonly report: Report;
  /** Aborted when the result isn't wanted any more. */
  readonly signal?: AbortSignal | undefined;
}

/** One way to get a program. `attempt` rejects with a short reason where this way can't be gone. */
interface Way<T> {
  readonly name: string;
  /**
   * It fetches nothing and only looks at what is there: that it fails is usual, and no line of
   * progress.
   */
  readonly looks?: true;
  readonly attempt: () => Promise<T>;
}

/**
 * Goes the ways in order until one leads to the program; reports why one is left for the next.
 * @param remedies what a person can do, in one phrase, when none does: the two ways to get it
 * @throws StackError naming what is missing, why each way failed, and the remedies
 */
export async function firstWay<T>(
  provision: Provision,
  what: string,
  remedies: string,
  ways: readonly Way<T>[],
): Promise<T> {
  const reasons: string[] = [];
  for (const [index, { name, looks, attempt }] of ways.entries()) {
    try {
      return await attempt();
    } catch (error) {
      provision.signal?.throwIfAborted();
      // A broken cache or disk would break every further way too, and says better itself what is
      // wrong.
      if (error instanceof StackError) throw error;
      const reason = `${name}: ${reasonOf(error)}`;
      reasons.push(reason);
      const next = ways[index + 1];
      if (next && !looks) provision.report(`${what}: not by ${reason}; trying ${next.name}`);
    }
  }
  throw new StackError(`${what} is missing and can't be fetched here (${reasons.join('; ')}). ${remedies}`);
}

/** Rejects a way: the reason stands in the final error if no other way works. */
export function noWay(reason: string): never {
  throw new Error(reason);
}

/** The folder of the cache that a program of this name and version has, present or not. */
export function cachePath(environment: NodeJS.ProcessEnv, entry: string): string {
  return join(cacheFolder(environment), entry);
}

/**
 * Fills an entry of the cache, such as `kafka/4.1.0`, unless it is there: in a temporary folder
 * that gets its name only when complete. Two processes that want the same entry take turns, and the
 * second finds it there.
 * @returns the entry's folder
 */
export async function cached(
  provision: Provision,
  entry: string,
  fill: (folder: string) => Promise<void>,
): Promise<string> {
  const target = cachePath(provision.environment, entry);
  if (existsSync(target)) return target;
  const parent = dirname(target);
  try {
    mkdirSync(parent, { recursive: true });
  } catch (error) {
    throw new StackError(`${parent} can't be written (${reasonOf(error)}); name another place with XDG_CACHE_HOME`, {
      cause: error,
    });
  }
  const wait = {
    folder: parent,
    onWait: (pid: number) => provision.report(`${entry}: process ${pid} is fetching it already, waiting`),
    signal: provision.signal,
  };
  return withLock(wait, async () => {
    if (existsSync(target)) return target;
    const drafts = `${basename(target)}.draft-`;
    for (const name of readdirSync(parent)) {
      // What a killed process left: while we hold the lock nobody else fills this entry.
      if (name.startsWith(drafts)) rmSync(join(parent, name), { recursive: true, force: true });
    }
    const draft = mkdtempSync(join(parent, drafts));
    try {
      await fill(draft);
      renameSync(draft, target);
    } finally {
      rmSync(draft, { recursive: true, force: true });
    }
    return target;
  });
}
