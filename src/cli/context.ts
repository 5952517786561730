/** What every verb gets: where to write, and how it says that it could not do what it was asked. */
import type { Config, LinkConfig } from '../config.js';
import { jsonLine, printable } from './printable.js';

/** Exit codes, a contract with scripts. */
export const EXIT = { ok: 0, failure: 1, usage: 2, divergence: 3, incomplete: 4, interrupted: 130 } as const;

/** A verb can't do what it was asked. One line for the person; `exitCode` for scripts. */
export class VerbError extends Error {
  override readonly name = 'VerbError';
  constructor(
    message: string,
    readonly exitCode: number = EXIT.failure,
    /** The error type, where there is one, for scripts. */
    readonly type?: string,
  ) {
    super(message);
  }
}

export interface GlobalOptions {
  readonly config?: string;
  readonly output: 'text' | 'json';
  readonly logLevel: string;
}

/**
 * Prints data: the value itself as JSON, or the lines made for a person. What a terminal would not
 * show but obey is escaped in both.
 */
export function print(options: GlobalOptions, value: unknown, lines: () => readonly string[]): void {
  process.stdout.write(`${options.output === 'json' ? jsonLine(value) : lines().map(printable).join('\n')}\n`);
}

/** A line about what goes on, to stderr. */
export function report(line: string): void {
  process.stderr.write(`${printable(line)}\n`);
}

/** @throws VerbError when there are several links and none was named, or no such link */
export function chooseLink(config: Config, name: string | undefined): LinkConfig {
  const known = config.links.map((link) => link.name).join(', ');
  if (name === undefined) {
    if (config.links.length > 1)
      throw new VerbError(`there are several links (${known}); name one with --link`, EXIT.usage);
    return config.links[0]!;
  }
  const link = config.links.find((candidate) => candidate.name === name);
  if (link === undefined) throw new VerbError(`no link "${name}" in the configuration; it has ${known}`, EXIT.usage);
  return link;
}
