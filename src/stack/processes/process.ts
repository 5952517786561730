/**
 * Processes that outlive the command that started them, and how a later command recognises them.
 *
 * A pid alone proves nothing: the system gives it to somebody else once its process is gone. So a
 * process is known by its pid and its birth, the moment it was started, which no two processes with
 * the same pid share. The process writes the record of both itself and becomes the service only
 * when told that the record is there: wherever the command that starts it is killed, no service
 * ever runs unrecorded.
 */
import { execFileSync, spawn } from 'node:child_process';
import { closeSync, mkdirSync, openSync, readFileSync, renameSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { readIfPresent } from './files.js';

/**
 * Records pid and birth in the file $1, waits for the word on its input (which ends without it when
 * we are killed), then turns into the program that follows; `exec` keeps both pid and birth.
 */
const RECORD_AND_BECOME = `record=$1; shift
(
  PATH=$PATH:/usr/bin:/bin
  { echo "$$"
    if [ -r "/proc/$$/stat" ]; then cat /proc/sys/kernel/random/boot_id "/proc/$$/stat"
    else LC_ALL=C TZ=UTC ps -o lstart= -p "$$"; fi
  } > "$record.new" && mv "$record.new" "$record"
) && read -r word && [ "$word" = go ] && exec "$@" < /dev/null`;

/** A process that runs now. */
export interface LiveProcess {
  readonly pid: number;
}

interface Launch {
  /**
   * Where the process works, and where its record (`pid`) and its output (`output.log`) go. Created
   * when missing.
   */
  readonly folder: string;
  readonly program: string;
  readonly arguments: readonly string[];
  readonly environment: NodeJS.ProcessEnv;
}

/**
 * The file that holds what the service of a folder prints; the previous start's is kept beside it
 * as `.1`.
 */
export function logOf(folder: string): string {
  return join(folder, 'output.log');
}

/**
 * Starts a process of its own session, so that it goes on when this one ends or its terminal is
 * closed. Resolves once it is recorded, or has ended already.
 */
export async function launch(options: Launch): Promise<void> {
  mkdirSync(options.folder, { recursive: true });
  const log = logOf(options.folder);
  if (readIfPresent(log)) renameSync(log, `${log}.1`);
  const output = openSync(log, 'a');
  try {
    const child = spawn(
      '/bin/sh',
      ['-c', RECORD_AND_BECOME, 'sh', recordOf(options.folder), options.program, ...options.arguments],
      { cwd: options.folder, env: options.environment, detached: true, stdio: ['pipe', output, output] },
    );
    child.unref();
    let ended = false;
    const end = () => {
      ended = true;
    };
    child.once('error', end);
    child.once('exit', end);
    child.stdin?.on('error', () => {}); // It may end before it reads.
    while (!ended && processOf(options.folder)?.pid !== child.pid) await sleep(5);
    child.stdin?.end('go\n');
  } finally {
    closeSync(output);
  }
}

/** The process that was launched in this folder, if that very process still runs. */
export function processOf(folder: string): LiveProcess | undefined {
  const record = readIfPresent(recordOf(folder));
  const newline = record?.indexOf('\n') ?? -1;
  if (record === undefined || newline < 0) return undefined;
  const pid = Number(record.slice(0, newline));
  const birth = parseBirth(record.slice(newline + 1));
  return birth !== undefined && birthOf(pid) === birth ? { pid } : undefined;
}

/**
 * Ends the process of a folder: asks, waits up to `graceMs`, then insists. Resolves once it is
 * gone.
 * @returns what was done
 */
export async function terminate(folder: string, graceMs: number): Promise<'was not running' | 'ended' | 'killed'> {
  const found = processOf(folder);
  if (found === undefined) {
    rmSync(recordOf(folder), { force: true });
    return 'was not running';
  }
  signal(found.pid, 'SIGTERM');
  const deadline = performance.now() + graceMs;
  let outcome: 'ended' | 'killed' = 'ended';
  while (processOf(folder)) {
    if (outcome === 'ended' && performance.now() > deadline) {
      outcome = 'killed';
      signal(found.pid, 'SIGKILL');
    }
    await sleep(25);
  }
  rmSync(recordOf(folder), { force: true });
  return outcome;
}

/**
 * @returns what tells the process apart from all others that ever have this pid; undefined when it
 *   does not run
 */
export function birthOf(pid: number): string | undefined {
  if (!Number.isInteger(pid) || pid <= 0) return undefined;
  if (process.platform === 'linux') {
    const stat = readProcessFile(`/proc/${pid}/stat`);
    return stat && parseBirth(readFileSync('/proc/sys/kernel/random/boot_id', 'utf8') + stat);
  }
  try {
    const printed = execFileSync('ps', ['-o', 'stat=,lstart=', '-p', `${pid}`], {
      encoding: 'utf8',
      env: { PATH: '/bin:/usr/bin', LC_ALL: 'C', TZ: 'UTC' },
      stdio: ['ignore', 'pipe', 'ignore'],
    });
    const [state = '', ...start] = printed.trim().split(/\s+/);
    return state.startsWith('Z') ? undefined : start.join(' ');
  } catch {
    return undefined; // ps exits with 1 when there is no such process.
  }
}

function recordOf(folder: string): string {
  return join(folder, 'pid');
}

/**
 * Boot id, newline, and the line of /proc/PID/stat; or what `ps -o lstart=` prints. In the line of
 * stat, the state is the first and the start time (in ticks since boot) the twentieth field after
 * the program's name, which stands in parentheses and may hold anything (proc(5)).
 */
function parseBirth(text: string): string | undefined {
  const end = text.lastIndexOf(')');
  if (end < 0) return text.trim().split(/\s+/).join(' ') || undefined;
  const fields = text.slice(end + 2).split(' ');
  const state = fields[0];
  // A zombie runs no more, even when nobody collects it.
  return state === 'Z' || state === 'X' ? undefined : `${text.slice(0, text.indexOf('\n'))} ${fields[19]}`;
}

function readProcessFile(path: string): string | undefined {
  try {
    return readFileSync(path, 'utf8');
  } catch {
    return undefined; // ENOENT, or ESRCH when it ends while being read.
  }
}

function signal(pid: number, name: NodeJS.Signals): void {
  try {
    process.kill(pid, name);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ESRCH') throw error;
  }
}
