/** Lines for a person while something long runs. */

/** Takes one line of progress; the caller decides where it goes. */
export type Report = (line: string) => void;

const EVERY_MS = 10_000;

/**
 * Runs `task`, saying `what` at the start and again with the elapsed seconds every ten seconds
 * until it settles.
 * @param takes how much and how long, for whoever waits the first time; said once
 */
export async function withProgress<T>(
  report: Report,
  what: string,
  task: () => Promise<T>,
  takes?: string,
): Promise<T> {
  const started = performance.now();
  report(takes === undefined ? what : `${what} (${takes})`);
  const timer = setInterval(() => report(`${what}, ${Math.round((performance.now() - started) / 1000)} s`), EVERY_MS);
  try {
    return await task();
  } finally {
    clearInterval(timer);
  }
}
