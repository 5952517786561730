/** `keymend demo` */
import { join, relative, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { type DemoOptions, keepKeymend, runDemo } from '../../demo/demo.js';
import { type DemoResult, describeResult, problemOf, verdictOf } from '../../demo/result.js';
import { demoLock, makeDirectory, type StackInfo, stackDown, stackUp, whatRuns, withLock } from '../../stack/index.js';
import { connectClient } from '../../temporal/connect.js';
import { EXIT, type GlobalOptions, print, report, VerbError } from '../context.js';
import { printable } from '../printable.js';
import { downCommand } from './stack.js';

/** Apart from the stack of `keymend stack up`, whose data the demo must not touch. */
const DIRECTORY = '.keymend/demo';
const CLI = fileURLToPath(new URL('../main.js', import.meta.url));

interface Shown {
  readonly stack: StackInfo;
  readonly result: DemoResult;
}

export async function demo(keep: boolean, global: GlobalOptions): Promise<void> {
  const { stack, result } = await alone(() => demonstrate(keep));
  const { ui } = stack.temporal;
  const problem = problemOf(result);
  print(global, { ...result, ui, kept: keep }, () => describe({ stack, result }, keep, problem));
  if (problem === undefined) return;
  // Bridge and worker that are kept have begun a log of their own.
  const log = join(DIRECTORY, 'keymend', keep ? 'output.log.1' : 'output.log');
  throw new VerbError(
    `${problem}; see ${log}, or run \`npx keymend demo --keep\` and look around`,
    result.divergedNow > 0 ? EXIT.divergence : EXIT.failure,
  );
}

/**
 * Runs `task` while no other demo runs in this folder: each would take the other's services and
 * data for its own.
 */
function alone<T>(task: () => Promise<T>): Promise<T> {
  const onWait = (pid: number) => {
    throw new VerbError(
      `process ${pid} is running a demo in ${resolve(DIRECTORY)} already; wait until it ends, or run this one in another folder`,
    );
  };
  makeDirectory(resolve(DIRECTORY));
  return withLock({ folder: demoLock(DIRECTORY), onWait }, async () => {
    const running = whatRuns(DIRECTORY);
    if (running.length === 0) return task();
    throw new VerbError(
      `an earlier demo's ${running.join(', ')} still run in ${resolve(DIRECTORY)}; stop them with ` +
        `\`${downCommand(DIRECTORY)}\`, then try again`,
    );
  });
}

/** Runs the demo and stops everything, unless it came to its end and all is to be kept. */
async function demonstrate(keep: boolean): Promise<Shown> {
  const abort = new AbortController();
  // A second signal ends the process at once; the next demo then names what it has left.
  const interrupted = () => {
    report('stopping everything; once more to leave it as it is');
    abort.abort(new VerbError('interrupted; everything is stopped', EXIT.interrupted));
  };
  process.once('SIGINT', interrupted).once('SIGTERM', interrupted);
  let kept = false;
  try {
    const { signal } = abort;
    const stack = await stackUp({ directory: DIRECTORY, environment: process.env, report, signal });
    report(`Web UI: ${stack.temporal.ui} shows the repairs while they go on`);
    const result = await show(stack, signal, keep);
    kept = keep;
    return { stack, result };
  } finally {
    if (!kept) await stackDown({ directory: DIRECTORY, report });
    process.off('SIGINT', interrupted).off('SIGTERM', interrupted);
  }
}

async function show(stack: StackInfo, signal: AbortSignal, keep: boolean): Promise<DemoResult> {
  const { address } = stack.temporal;
  // Not from the environment: a profile for production must not lead the demo there.
  const client = await connectClient({ options: { address }, address, namespace: 'default' });
  const options: DemoOptions = {
    stack,
    directory: resolve(DIRECTORY),
    client,
    signal,
    cli: CLI,
    report,
    visible: printable,
  };
  try {
    signal.throwIfAborted();
    const result = await runDemo(options);
    if (keep) await keepKeymend(options);
    return result;
  } catch (error) {
    // An aborted pause rejects with an error of its own, whose cause is the reason.
    signal.throwIfAborted();
    throw error;
  } finally {
    await client.connection.close();
  }
}

/** The verdict comes last; one that is bad comes as the error. */
function describe({ stack, result }: Shown, keep: boolean, problem: string | undefined): string[] {
  const lines = [...describeResult(result)];
  if (keep) {
    const { host } = new URL(stack.redis.target);
    const key = 'demo:string:1';
    lines.push(
      '',
      'Everything goes on running, on a healthy link:',
      `Web UI          ${stack.temporal.ui}`,
      `try             redis-cli -u redis://${host} set ${key} wrong`,
      `                npx keymend reconcile ${key} --config ${relative('.', stack.config)}`,
      `stop all of it  ${downCommand(DIRECTORY)}`,
    );
  }
  return [...lines, ...(problem === undefined ? ['', verdictOf(result)] : [])];
}
