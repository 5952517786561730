/** Programs that run to their end: package managers, builders, version questions. */
import { execFile } from 'node:child_process';
import { accessSync, constants, statSync } from 'node:fs';
import { delimiter, join } from 'node:path';

interface CommandOptions {
  readonly environment: NodeJS.ProcessEnv;
  readonly folder?: string;
  readonly timeoutMs: number;
  readonly signal?: AbortSignal | undefined;
}

/**
 * @returns the absolute path of an executable file of that name on the PATH of `environment`;
 *   undefined when none
 */
export function findOnPath(name: string, environment: NodeJS.ProcessEnv): string | undefined {
  return (environment.PATH ?? '')
    .split(delimiter)
    .filter((folder) => folder !== '')
    .map((folder) => join(folder, name))
    .find(isExecutable);
}

export function isExecutable(path: string): boolean {
  try {
    accessSync(path, constants.X_OK);
    return statSync(path).isFile();
  } catch {
    return false;
  }
}

/**
 * Runs a program to its end.
 * @returns what it printed on both of its outputs
 * @throws Error with one line: the program and the last thing it said, when it fails, takes longer
 *   or is aborted
 */
export function run(program: string, args: readonly string[], options: CommandOptions): Promise<string> {
  return new Promise((resolve, reject) => {
    const settings = {
      env: options.environment,
      timeout: options.timeoutMs,
      maxBuffer: 64 * 1024 * 1024,
      ...(options.folder !== undefined && { cwd: options.folder }),
      ...(options.signal && { signal: options.signal }),
    };
    const child = execFile(program, args, settings, (error, stdout, stderr) => {
      if (error === null) return resolve(stdout + stderr);
      const seconds = Math.round(options.timeoutMs / 1000);
      const said = `${stdout}\n${stderr}`.split('\n').filter((line) => /\S/.test(line) && !/^\[?INFO/.test(line));
      const reason = error.killed
        ? `stopped after ${seconds} s`
        : (said.find((line) => /error/i.test(line)) ?? said.at(-1) ?? error.message).trim();
      reject(new Error(`${program.split('/').at(-1)}: ${reason}`, { cause: error }));
    });
    child.stdin?.end();
  });
}
