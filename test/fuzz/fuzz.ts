/** What holds for every parser, whatever it is given. */
import { Script } from 'node:vm';
import * as fc from 'fast-check';
import { expect } from 'vitest';
import { IS_FULL } from '../support/cases.js';
import { CANARY, mutated } from './mutations.js';

const INPUTS = IS_FULL ? 1_000_000 : 2_000;
/** Of a parse, and for each KB of what is parsed. So long only what goes round and round takes. */
const MOST_MS = 250;
/** Of all inputs: what never ends, ends then, and its input is told. */
const NEVER_MS = IS_FULL ? 1_500_000 : 120_000;

/** @returns why an input was refused; undefined: it was not */
type Parse = (input: Buffer) => Error | string | undefined;

/** Calls what refuses by an error of one type; any other is thrown on. */
export function refusal(type: new (...args: never[]) => Error, parse: () => unknown): Error | undefined {
  try {
    parse();
    return undefined;
  } catch (error) {
    // Not of a subclass, which is what a bug raises.
    if (error instanceof Error && error.constructor === type) return error;
    throw error;
  }
}

/**
 * Whatever of `valid` is changed: there is an answer soon, or a refusal in one line that shows no
 * value of a user.
 * @param parse throws for nothing that it may be given
 * @param cost how much longer than others it takes: so many times fewer inputs
 */
export function fuzz(valid: readonly Buffer[], parse: Parse, cost = 1): void {
  let last: Buffer = Buffer.of();
  const work = () =>
    fc.assert(
      fc.property(mutated(valid), (input) => {
        last = input;
        lookAt(soon(input, parse));
      }),
      { numRuns: INPUTS / cost },
    );
  try {
    interruptible(work);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ERR_SCRIPT_EXECUTION_TIMEOUT') throw error;
    throw new Error(`no end for this input in base64: ${last.toString('base64')}`, { cause: error });
  }
}

/** The same for what answers later. */
export async function fuzzLater(
  input: fc.Arbitrary<Buffer>,
  parse: (input: Buffer) => Promise<Error | string | undefined>,
): Promise<void> {
  await fc.assert(
    fc.asyncProperty(input, async (bytes) => {
      const begunAt = performance.now();
      lookAt(await parse(bytes));
      expect(performance.now() - begunAt).toBeLessThan(20 * limitMs(bytes));
    }),
    { numRuns: INPUTS },
  );
}

/** A turn that lasts long because of what else the machine does is not long three times. */
function soon(input: Buffer, parse: Parse): ReturnType<Parse> {
  for (let turn = 1; ; turn++) {
    const begunAt = performance.now();
    const said = parse(input);
    const lasted = performance.now() - begunAt;
    if (lasted < limitMs(input)) return said;
    if (turn === 3) throw new Error(`${lasted} ms for ${input.length} bytes`);
  }
}

function limitMs({ length }: Buffer): number {
  return MOST_MS * Math.max(1, length / 1024);
}

function lookAt(said: ReturnType<Parse>): void {
  if (said === undefined) return;
  const text = typeof said === 'string' ? said : said.message;
  if (text === '' || /[\p{Cc}\p{Zl}\p{Zp}]/u.test(text)) throw new Error(`not one line: ${JSON.stringify(text)}`);
  // A cause is shown where an error is not caught, and in logs.
  for (let shown: unknown = said; shown !== undefined; shown = shown instanceof Error ? shown.cause : undefined) {
    const all = shown instanceof Error ? `${shown.message}\n${shown.stack}` : String(shown);
    if (all.includes(CANARY)) throw new Error(`it shows a value: ${all}`);
  }
}

/** Only what a script has called can be ended from outside. */
function interruptible(work: () => void): void {
  const shared = globalThis as { fuzzing?: () => void };
  shared.fuzzing = work;
  try {
    new Script('fuzzing()').runInThisContext({ timeout: NEVER_MS });
  } finally {
    delete shared.fuzzing;
  }
}
