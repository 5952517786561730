/**
 * What every verb gets: where to write, what the person asked for, and the configuration when it is
 * needed.
 */
import type { Client } from '@temporalio/client';
import { type Command, Option } from 'commander';
import { destination, type Logger } from 'pino';
import { type Config, type LinkConfig, loadConfig } from '../config.js';
import { connectClient, type TemporalTarget, temporalTarget } from '../temporal/connect.js';
import { errorText, isTemporalError } from '../temporal/error-text.js';
import { createLogTo } from './log.js';
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

/** Adds the options that every verb understands. */
export function withGlobalOptions(command: Command): Command {
  return command
    .option(
      '-c, --config <file>',
      'the configuration (default: KEYMEND_CONFIG, else keymend.yaml, else .keymend/keymend.yaml)',
    )
    .addOption(new Option('-o, --output <format>', 'how to print data').choices(['text', 'json']).default('text'))
    .addOption(
      new Option('--log-level <level>', 'how much to log to stderr')
        .choices(['fatal', 'error', 'warn', 'info', 'debug', 'trace', 'silent'])
        .default('info'),
    );
}

export function globalOptions(command: Command): GlobalOptions {
  return command.optsWithGlobals() as GlobalOptions;
}

/** What the help of a verb ends with: how it is used, in a line or two. */
export function examples(...lines: readonly string[]): string {
  return ['', lines.length === 1 ? 'Example:' : 'Examples:', ...lines.map((line) => `  ${line}`)].join('\n');
}

/** Logs go to stderr, on a terminal for a person, else as JSON lines; stdout belongs to data. */
export function createLogger(options: GlobalOptions): Logger {
  const file = destination({ fd: 2, sync: true });
  const stream = { isTTY: process.stderr.isTTY === true, write: (text: string) => file.write(text) };
  return createLogTo(stream, options.logLevel);
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

export interface Configured {
  readonly config: Config;
  readonly temporal: TemporalTarget;
}

export function readConfig(options: GlobalOptions): Configured {
  const config = loadConfig(options.config, process.env);
  return { config, temporal: temporalTarget(config, process.env) };
}

/** Runs `work` with a client of Temporal and closes its connection whatever happens. */
export async function withClient<T>(
  options: GlobalOptions,
  work: (client: Client, config: Config) => Promise<T>,
): Promise<T> {
  const { config, temporal } = readConfig(options);
  const client = await connectClient(temporal);
  try {
    return await work(client, config);
  } catch (error) {
    if (!isTemporalError(error)) throw error;
    const { address, namespace } = temporal;
    throw new VerbError(`Temporal at ${address}, namespace ${namespace}: ${errorText(error)}`);
  } finally {
    await client.connection.close();
  }
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

/** Waits for SIGINT or SIGTERM. The second signal ends the process at once. */
export function untilStopped(): Promise<NodeJS.Signals> {
  return new Promise((resolve) => {
    for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => resolve(signal));
  });
}
