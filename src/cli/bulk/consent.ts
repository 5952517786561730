/** Asks a person before many keys are told something. */
import { createInterface } from 'node:readline/promises';
import { EXIT, VerbError } from '../context.js';
import { printable } from '../printable.js';
import type { Selection } from './selection.js';

interface Terminal {
  readonly stdin: NodeJS.ReadableStream & { readonly isTTY?: boolean };
  readonly stderr: NodeJS.WritableStream & { readonly isTTY?: boolean };
}

/** Whether there is somebody who could answer. */
export function canAsk({ stdin, stderr }: Terminal = process): boolean {
  return stdin.isTTY === true && stderr.isTTY === true;
}

/** What is asked: how many keys it is about, too, where that is known soon. */
export async function questionOf({ what, count }: Pick<Selection, 'what' | 'count'>, verb: string): Promise<string> {
  const keys = await count();
  return `tell ${what}${keys === null ? '' : `, about ${keys} now,`} to ${verb}`;
}

/**
 * @param question without its mark
 * @throws VerbError where the answer is no, or nobody can answer
 */
export async function consent(question: string, terminal: Terminal = process): Promise<void> {
  if (!canAsk(terminal))
    throw new VerbError('nobody can be asked here: give --yes, or --dry-run to see which keys are meant', EXIT.usage);
  const asking = createInterface({ input: terminal.stdin, output: terminal.stderr });
  try {
    const answer = await asking.question(`${printable(question)}? [y/N] `).catch((error: Error) => {
      throw new VerbError('nothing was told to anybody', error.name === 'AbortError' ? EXIT.interrupted : EXIT.failure);
    });
    if (!/^y(es)?$/i.test(answer.trim())) throw new VerbError('nothing was told to anybody');
  } finally {
    asking.close();
  }
}
