/** Asks a person before many keys are told something. */
import { createInterface } from 'node:readline/promises';
import { EXIT, VerbError } from '../context.js';
import { printable } from '../printable.js';
import type { Selection } from './selection.js';

/** Whether there is somebody who could answer. */
export function canAsk(): boolean {
  return process.stdin.isTTY === true && process.stderr.isTTY === true;
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
export async function consent(question: string): Promise<void> {
  if (!canAsk())
    throw new VerbError('nobody can be asked here: give --yes, or --dry-run to see which keys are meant', EXIT.usage);
  const terminal = createInterface({ input: process.stdin, output: process.stderr });
  try {
    const answer = await terminal.question(`${printable(question)}? [y/N] `);
    if (!/^y(es)?$/i.test(answer.trim())) throw new VerbError('nothing was told to anybody');
  } finally {
    terminal.close();
  }
}
