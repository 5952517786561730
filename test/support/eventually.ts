import { TestRunner, vi } from 'vitest';

/**
 * Only a net, below that of a test, so that who waited in vain says for what: on a busy machine all
 * takes long.
 */
export const NET_MS = 240_000;

/** Captured before a test fakes them. */
const { setTimeout: later, clearTimeout: noMore } = globalThis;
const now = performance.now.bind(performance);

/**
 * Waits between two looks, of which each takes time from what is waited for: the longer it has
 * lasted, the less a moment more matters.
 */
async function pauseSince(begin: number): Promise<void> {
  const pauseMs = Math.min(100, Math.max(20, (now() - begin) / 20));
  await new Promise<void>((resolve) => later(resolve, pauseMs));
}

/**
 * Resolves with what `check` gives, once it neither throws nor rejects. For what has no event to
 * wait for.
 * @throws what `check` threw last
 */
export async function eventually<T>(check: () => T | Promise<T>): Promise<T> {
  // It lets the faked clock run on with each look.
  if (vi.isFakeTimers()) return vi.waitFor(check, { timeout: NET_MS, interval: 20 });
  const begin = now();
  let last: unknown = new Error('the first look has not ended');
  for (;;) {
    const leftMs = NET_MS - (now() - begin);
    if (leftMs <= 0) throw last;
    // Also a look may never end.
    let net: NodeJS.Timeout | undefined;
    const over = new Promise<never>((_, reject) => {
      net = later(() => reject(last), leftMs);
    });
    try {
      return await Promise.race([(async () => check())(), over]);
    } catch (error) {
      last = error;
    } finally {
      noMore(net);
    }
    await pauseSince(begin);
  }
}

/**
 * Resolves once `holds` does.
 * @throws what names `holds`, a moment before the test's own timeout, which does not say what was
 *   waited for
 */
export async function until(holds: () => boolean | Promise<boolean>): Promise<void> {
  const begin = now();
  const netMs = (TestRunner.getCurrentTest()?.timeout ?? 300_000) * 0.8;
  let net: NodeJS.Timeout | undefined;
  const over = new Promise<never>((_, reject) => {
    net = later(() => reject(new Error(`waited in vain until ${holds}`)), netMs);
  });
  try {
    // Also a look may never end.
    while (!(await Promise.race([over, holds()]))) await pauseSince(begin);
  } finally {
    noMore(net);
  }
}
