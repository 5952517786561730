#!/usr/bin/env node
/** `npx keymend VERB`. Data goes to stdout, everything else to stderr. */
import { Command, CommanderError } from 'commander';
import { EXIT, report as say, VerbError } from './context.js';
import { packageVersion } from './package-version.js';
import { jsonLine } from './printable.js';
import { withGlobalOptions } from './usage/options.js';

/** In the order of the help. */
const VERBS: Readonly<Record<string, () => Promise<Command>>> = {
  demo: async () => (await import('./usage/demo.js')).demoCommand(),
  stack: async () => (await import('./usage/stack.js')).stackCommand(),
  bridge: async () => (await import('./usage/bridge.js')).bridgeCommand(),
  worker: async () => (await import('./usage/worker.js')).workerCommand(),
  start: async () => (await import('./usage/start.js')).startCommand(),
  status: async () => (await import('./usage/status.js')).statusCommand(),
  reconcile: async () => (await import('./usage/reconcile.js')).reconcileCommand(),
  retry: async () => (await import('./usage/retry.js')).retryCommand(),
  skip: async () => (await import('./usage/skip.js')).skipCommand(),
  escalations: async () => (await import('./usage/escalations.js')).escalationsCommand(),
  sweep: async () => (await import('./usage/sweep.js')).sweepCommand(),
  dlq: async () => (await import('./usage/dlq.js')).dlqCommand(),
  doctor: async () => (await import('./usage/doctor.js')).doctorCommand(),
  acl: async () => (await import('./usage/acl.js')).aclCommand(),
  'codec-server': async () => (await import('./usage/codec-server.js')).codecServerCommand(),
  estimate: async () => (await import('./usage/estimate.js')).estimateCommand(),
  config: async () => (await import('./usage/config.js')).configCommand(),
  completion: async () => (await import('./usage/completion.js')).completionCommand(() => program),
};

const program: Command = new Command('keymend')
  .description('Repairs Redis keys that diverged because a dual write to a remote Redis failed.')
  .version(packageVersion())
  .exitOverride();
withGlobalOptions(program);
// Only how they are called: what a verb does is loaded when it runs.
for (const verb of await Promise.all(Object.values(VERBS).map((load) => load()))) program.addCommand(verb);
for (const command of everyCommand(program)) {
  command
    .exitOverride()
    .configureHelp({ showGlobalOptions: true })
    .configureOutput({ outputError: (text) => sayError(misuse(text, command)) });
}

// Whoever reads it has seen enough, as `head` has. What a verb does goes on, and its end is told:
// by the exit code, too.
for (const stream of [process.stdout, process.stderr]) {
  stream.on('error', (error: NodeJS.ErrnoException) => {
    if (error.code !== 'EPIPE') throw error;
  });
}

try {
  await program.parseAsync();
} catch (error) {
  process.exitCode = report(error);
}

function everyCommand(command: Command): Command[] {
  return [command, ...command.commands.flatMap((child) => everyCommand(child))];
}

/** For example `keymend`, `stack`, `up`. */
function namesOf(command: Command): string[] {
  const names = [];
  for (let named: Command | null = command; named !== null; named = named.parent) names.unshift(named.name());
  return names;
}

/** What commander says of a verb that is not used as it can be, in the form of our own errors. */
function misuse(text: string, command: Command): string {
  const said = text
    .trim()
    .replace(/^error: /, '')
    .replace(/\n\((.*)\)$/, '; $1')
    .replace(/[.?]$/, (end) => (end === '?' ? '?' : ''));
  return `${said}; see \`${namesOf(command).join(' ')} --help\``;
}

/** To stderr, which is read by scripts where the data is JSON. */
function sayError(message: string, type?: string): void {
  if (wantsJson(process.argv)) process.stderr.write(`${jsonLine({ error: { type, message } })}\n`);
  else say(`keymend: ${message}`);
}

/** Also of a command line that commander does not understand. */
function wantsJson(line: readonly string[]): boolean {
  const end = line.indexOf('--');
  const words = end === -1 ? line : line.slice(0, end);
  return words.some(
    (word, at) => /^(-o=?|--output=)json$/.test(word) || (/^(-o|--output)$/.test(word) && words[at + 1] === 'json'),
  );
}

/** One line for a person; a stack only where the fault is ours. Returns the exit code. */
function report(error: unknown): number {
  // Commander has printed its own line, or the help that was asked for.
  if (error instanceof CommanderError) return error.exitCode === 0 ? EXIT.ok : EXIT.usage;
  const ours = error instanceof TypeError || error instanceof ReferenceError || error instanceof RangeError;
  const type = error instanceof VerbError ? error.type : undefined;
  const frames = ours ? (error.stack ?? '').split('\n').filter((line) => /^\s+at /.test(line)) : [];
  for (const frame of frames) say(frame);
  // The last line, where a script looks for it.
  sayError(error instanceof Error ? error.message : String(error), type);
  return error instanceof VerbError ? error.exitCode : EXIT.failure;
}
