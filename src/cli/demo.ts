/** `keymend demo` */
import { spawn } from 'node:child_process';
import { openSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { Command } from 'commander';
import { type DemoResult, environmentFor, runDemo } from '../demo/demo.js';
import { type StackInfo, stackDown, stackUp } from '../stack/index.js';
import { connectClient } from '../temporal/connect.js';
import { EXIT, globalOptions, print, VerbError } from './context.js';

/** Apart from the stack of `keymend stack up`, whose data the demo must not touch. */
const DIRECTORY = '.keymend/demo';
const CLI = fileURLToPath(new URL('./main.js', import.meta.url));

export function demoCommand(): Command {
  return new Command('demo')
    .description(
      'Watch it work: real services, an application that dual-writes over a failing link, and a full comparison',
    )
    .option('--keep', 'leave the services, the bridge and a worker running to look around')
    .action(async (options: { keep?: true }, command: Command) => {
      const global = globalOptions(command);
      const abort = new AbortController();
      const interrupted = () => abort.abort(new VerbError('interrupted; everything is stopped', 130));
      process.on('SIGINT', interrupted).on('SIGTERM', interrupted);
      let kept: number | undefined;
      try {
        const stack = await stackUp({ directory: DIRECTORY, environment: process.env, report });
        const result = await demonstrate(stack, abort.signal);
        if (options.keep) kept = keepRunning(stack);
        print(global, { ...result, ui: stack.temporal.ui, ...(kept ? { keptProcess: kept } : {}) }, () =>
          describe(result, stack, kept),
        );
        if (result.divergedNow > 0) throw new VerbError('the two Redis did not converge', EXIT.divergence);
        if (!hasConverged(result)) throw new VerbError('not every failed write was repaired');
      } finally {
        if (kept === undefined) await down();
        process.off('SIGINT', interrupted).off('SIGTERM', interrupted);
      }
    });
}

async function demonstrate(stack: StackInfo, signal: AbortSignal): Promise<DemoResult> {
  const directory = resolve(DIRECTORY);
  const { address } = stack.temporal;
  // Not from the environment: a profile for production must not lead the demo there.
  const client = await connectClient({ options: { address }, address, namespace: 'default' });
  try {
    signal.throwIfAborted();
    return await runDemo({ stack, directory, client, signal, cli: CLI, report });
  } catch (error) {
    // An aborted pause rejects with an error of its own, whose cause is the reason.
    signal.throwIfAborted();
    throw error;
  } finally {
    await client.connection.close();
  }
}

/** Bridge and worker, now on the healthy link and apart from this process. Returns the process ID. */
function keepRunning(stack: StackInfo): number {
  const log = openSync(join(DIRECTORY, 'start.log'), 'a');
  const child = spawn(process.execPath, [CLI, 'start', '--config', stack.config], {
    detached: true,
    stdio: ['ignore', 'ignore', log],
    env: environmentFor(stack, resolve(DIRECTORY)),
  });
  child.unref();
  return child.pid!;
}

function hasConverged(result: DemoResult): boolean {
  return result.divergedNow === 0 && result.escalated === 0 && result.lostRecords === 0 && result.divergedBefore > 0;
}

function describe(result: DemoResult, stack: StackInfo, kept: number | undefined): string {
  const seconds = (ms: number) => `${(ms / 1000).toFixed(1)} s`;
  const rows: [string, string | number][] = [
    ['operations', `${result.operations}, of which ${result.failedWrites} failed on the target`],
    [
      'failed writes',
      `${result.throughOutbox} by the outbox while Kafka was away, the others by Kafka, ${result.lostRecords} lost`,
    ],
    ['breaker', `opened ${result.breakerOpened} times by a target that did not answer`],
    ['keys compared', `${result.keysComparedBefore} before, ${result.keysCompared} now`],
    ['diverged before', result.divergedBefore],
    ['repaired', `${result.repaired} keys, some of them before the last outage`],
    ['diverged now', result.divergedNow],
    ['escalated', result.escalated],
    ['time to convergence', describeTimes(result, seconds)],
    ['Web UI', `${stack.temporal.ui}${kept === undefined ? ' (stopped now; --keep leaves it running)' : ''}`],
  ];
  const lines = rows.map(([name, value]) => `${name.padEnd(20)} ${value}`);
  if (kept !== undefined)
    lines.push(
      '',
      `To look around: export KEYMEND_CONFIG=${DIRECTORY}/keymend.yaml`,
      `To stop all of it: kill ${kept} && npx keymend stack down --directory ${DIRECTORY}`,
    );
  return lines.join('\n');
}

function describeTimes({ convergenceMs }: DemoResult, seconds: (ms: number) => string): string {
  if (convergenceMs === null) return 'nothing had to be repaired';
  return `p50 ${seconds(convergenceMs.p50)}, p99 ${seconds(convergenceMs.p99)} (after a key's last failed write, outage included)`;
}

async function down(): Promise<void> {
  await stackDown({ directory: DIRECTORY, report });
}

function report(line: string): void {
  if (process.stderr.isTTY) process.stderr.write(`${line}\n`);
}
