#!/usr/bin/env node
/** `npx keymend VERB`. Data goes to stdout, everything else to stderr. */
import { Command, CommanderError } from 'commander';
import { bridgeCommand } from './bridge.js';
import { configCommand } from './config.js';
import { EXIT, VerbError, withGlobalOptions } from './context.js';
import { demoCommand } from './demo.js';
import { escalationsCommand } from './escalations.js';
import { packageVersion } from './package-version.js';
import { reconcileCommand } from './reconcile.js';
import { retryCommand } from './retry.js';
import { skipCommand } from './skip.js';
import { stackCommand } from './stack.js';
import { startCommand } from './start.js';
import { statusCommand } from './status.js';
import { workerCommand } from './worker.js';

const VERBS = [
  demoCommand,
  stackCommand,
  bridgeCommand,
  workerCommand,
  startCommand,
  statusCommand,
  reconcileCommand,
  retryCommand,
  skipCommand,
  escalationsCommand,
  configCommand,
];

const program = new Command('keymend')
  .description('Repairs Redis keys that diverged because a dual write to a remote Redis failed.')
  .version(packageVersion())
  .exitOverride();
for (const verb of VERBS) program.addCommand(withGlobalOptions(verb()));
for (const command of everyCommand(program)) command.exitOverride().configureHelp({ showGlobalOptions: true });

try {
  await program.parseAsync();
} catch (error) {
  process.exitCode = report(error);
}

function everyCommand(command: Command): Command[] {
  return [command, ...command.commands.flatMap((child) => everyCommand(child))];
}

/** One line for a person; a stack only where the fault is ours. Returns the exit code. */
function report(error: unknown): number {
  // Commander has printed its own line, or the help that was asked for.
  if (error instanceof CommanderError) return error.exitCode === 0 ? EXIT.ok : EXIT.usage;
  const ours = error instanceof TypeError || error instanceof ReferenceError || error instanceof RangeError;
  const message = error instanceof Error ? (ours && error.stack) || error.message : String(error);
  process.stderr.write(`keymend: ${message}\n`);
  return error instanceof VerbError ? error.exitCode : EXIT.failure;
}
