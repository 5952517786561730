/** The log: to a terminal lines for a person, to anything else JSON lines. */
import { destination, type Logger, pino } from 'pino';
import type { Config } from '../config.js';
import type { GlobalOptions } from './context.js';
import { printable } from './printable.js';
import { privateFields } from './private-fields.js';

/** Where a log goes. */
interface LogStream {
  readonly isTTY?: boolean;
  write(text: string): unknown;
}

type Entry = Readonly<Record<string, unknown>> & { readonly level: string; readonly time: string };

/**
 * Logs go to stderr, on a terminal for a person, else as JSON lines; stdout belongs to data.
 * @param config what keys may be shown as
 */
export function createLogger(options: GlobalOptions, config: Config): Logger {
  const file = destination({ fd: 2, sync: true });
  const stream = { isTTY: process.stderr.isTTY === true, write: (text: string) => file.write(text) };
  return createLogTo(stream, options.logLevel, privateFields(config));
}

/** @param stream must write at once, so that the last words of a process are not lost */
export function createLogTo(stream: LogStream, level: string, shown?: ReturnType<typeof privateFields>): Logger {
  const options = {
    level,
    base: { pid: process.pid },
    timestamp: pino.stdTimeFunctions.isoTime,
    formatters: { level: (label: string) => ({ level: label }), ...(shown && { log: shown }) },
  };
  const write = (line: string) => stream.write(`${forPerson(JSON.parse(line) as Entry).join('\n')}\n`);
  return pino(options, stream.isTTY ? { write } : stream);
}

/** For example `20:15:07 warn  what happened (link east-to-west)`; a stack in lines of its own. */
function forPerson({ level, time, msg, pid: _pid, stack, ...fields }: Entry): string[] {
  const details = Object.entries(fields).map(
    ([name, value]) => `${name} ${typeof value === 'string' ? value : JSON.stringify(value)}`,
  );
  const [, clock] = /T(\d\d:\d\d:\d\d)/.exec(time) ?? [];
  const line = `${clock} ${level.padEnd(5)} ${msg ?? ''}${details.length > 0 ? ` (${details.join(', ')})` : ''}`;
  const frames = typeof stack === 'string' ? stack.split('\n').filter((frame) => /^\s+at /.test(frame)) : [];
  return [line, ...frames].map(printable);
}
