/** The command line as a person runs it in a folder of theirs, with what they see. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';
import { onTestFinished } from 'vitest';

const CLI = fileURLToPath(new URL('../../../dist/src/cli/main.js', import.meta.url));

export interface Ended {
  readonly code: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

export interface Verb {
  readonly pid: number;
  readonly ended: Promise<Ended>;
  /** Resolves once it has said this on stderr; rejects when it ends before. */
  says(text: string): Promise<void>;
  interrupt(): void;
}

/** Starts a verb in `folder`; its outputs are pipes. It ends with the test at the latest. */
export function startVerb(folder: string, args: readonly string[], environment: NodeJS.ProcessEnv): Verb {
  const child = spawn(process.execPath, [CLI, ...args], { cwd: folder, env: environment });
  const said = { stdout: '', stderr: '' };
  child.stdout.setEncoding('utf8').on('data', (chunk: string) => {
    said.stdout += chunk;
  });
  child.stderr.setEncoding('utf8').on('data', (chunk: string) => {
    said.stderr += chunk;
  });
  const ended = new Promise<Ended>((resolve) => child.once('close', (code) => resolve({ code, ...said })));
  const exited = once(child, 'exit');
  onTestFinished(async () => {
    child.kill('SIGKILL');
    await exited; // Else `stack down` could still meet the demo that it was.
  });
  return {
    pid: child.pid as number,
    ended,
    says: (text) =>
      new Promise((resolve, reject) => {
        const look = () => {
          if (said.stderr.includes(text)) resolve();
        };
        child.stderr.on('data', look);
        void ended.then(() => reject(new Error(`it ended before it said "${text}": ${said.stderr}`)));
        look();
      }),
    interrupt: () => child.kill('SIGINT'),
  };
}

/** Runs a verb to its end. */
export function runVerb(folder: string, args: readonly string[], environment: NodeJS.ProcessEnv): Promise<Ended> {
  return startVerb(folder, args, environment).ended;
}
