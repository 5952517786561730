/**
 * How verbs are called: the options that several share. What is here and beside it loads neither
 * what a verb does nor what that needs, so that help comes at once.
 */
import { type Command, Option } from 'commander';
import type { GlobalOptions } from '../context.js';

/** Adds the options that every verb understands, before its name and behind it. */
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

/** Where `stack up` puts everything, unless it is told where. */
export const STACK_DIRECTORY = '.keymend';

export interface KeyOptions {
  readonly link?: string;
  readonly encoding: 'utf8' | 'base64';
}

/** Adds the options that say which key is meant. */
export function withKeyOptions(command: Command): Command {
  return command
    .option('-l, --link <name>', 'the link of the key; needed when there are several')
    .addOption(new Option('--encoding <encoding>', 'how KEY is written').choices(['utf8', 'base64']).default('utf8'));
}
