/**
 * How many generated cases a property test runs: few in every run, many in a full one (`npm run
 * test:full`).
 */

/**
 * @param everyRun how many are enough for every run of the tests
 * @returns that, or as many as `KEYMEND_TEST_CASES` asks for, if that is more
 */
export function generatedCases(everyRun: number): number {
  return Math.max(everyRun, Number(process.env.KEYMEND_TEST_CASES ?? 0));
}

/** Whether this is a full run (`npm run test:full`), which may take minutes for one test. */
export const IS_FULL = generatedCases(0) > 0;

/** How long the soak lasts; half an hour by hand: `KEYMEND_SOAK_MINUTES=30`. */
export const SOAK_MINUTES = Number(process.env.KEYMEND_SOAK_MINUTES ?? 3);
