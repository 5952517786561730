/** `keymend stack up|down|status` */
import { basename, join, resolve } from 'node:path';
import { Command } from 'commander';
import {
  KEYMEND,
  KEYMEND_TITLE,
  type ServiceStatus,
  type StackInfo,
  stackDown,
  stackStatus,
  stackUp,
  wasStarted,
  whatRuns,
} from '../../stack/index.js';
import { EXIT, examples, globalOptions, print, report, VerbError } from '../context.js';

const DEFAULT_DIRECTORY = '.keymend';

interface StackVerbOptions {
  readonly directory: string;
}

export function stackCommand(): Command {
  const up = verb('up', 'Start what does not run yet; prints where everything is')
    .addHelpText('after', examples('npx keymend stack up', 'npx keymend stack up --directory /tmp/try'))
    .action(async ({ directory }: StackVerbOptions, command: Command) => {
      const info = await upUnlessInterrupted(directory);
      print(globalOptions(command), info, () => describeInfo(info, directory));
    });
  const down = verb(
    'down',
    'Stop what runs in the directory (what a demo kept: `--directory .keymend/demo`); the data stays',
  )
    .addHelpText('after', examples('npx keymend stack down', 'npx keymend stack down --directory .keymend/demo'))
    .action(async ({ directory }: StackVerbOptions, command: Command) => {
      const { stopped } = await stackDown({ directory, report });
      if (stopped.length === 0)
        report(wasStarted(directory) ? `nothing runs in ${resolve(directory)}` : absence(directory));
      if (stopped.length > 0 || globalOptions(command).output === 'json') {
        print(globalOptions(command), { stopped }, () => ['stopped; the data stays']);
      }
    });
  const status = verb('status', 'Show which services run')
    .addHelpText('after', examples('npx keymend stack status', 'npx keymend stack status --output json'))
    .action(async ({ directory }: StackVerbOptions, command: Command) => {
      if (!wasStarted(directory)) report(absence(directory));
      const services = await stackStatus({ directory, environment: process.env });
      print(globalOptions(command), services, () => services.map(describeService));
    });
  return new Command('stack')
    .description('Local services for a try: Temporal with its Web UI, Kafka, two Redis; all real')
    .addHelpText('after', examples('npx keymend stack up', 'npx keymend stack status'))
    .addCommand(up)
    .addCommand(down)
    .addCommand(status);
}

/** @returns the command that stops what runs in this directory */
export function downCommand(directory: string): string {
  return `npx keymend stack down${directory === DEFAULT_DIRECTORY ? '' : ` --directory ${directory}`}`;
}

/**
 * The first Ctrl-C ends the fetching and starting, and the last line says what stays; the second
 * ends the process at once.
 */
async function upUnlessInterrupted(directory: string): Promise<StackInfo> {
  const interruption = new AbortController();
  const interrupt = () => interruption.abort();
  process.once('SIGINT', interrupt).once('SIGTERM', interrupt);
  try {
    return await stackUp({ directory, environment: process.env, report, signal: interruption.signal });
  } catch (error) {
    if (!interruption.signal.aborted) throw error;
    const running = whatRuns(directory);
    throw new VerbError(
      running.length === 0
        ? 'interrupted; nothing stays running'
        : `interrupted; stays running: ${running.join(', ')}; stop it with \`${downCommand(directory)}\``,
      EXIT.interrupted,
    );
  } finally {
    process.off('SIGINT', interrupt).off('SIGTERM', interrupt);
  }
}

function verb(name: string, description: string): Command {
  return new Command(name)
    .description(description)
    .option('--directory <dir>', 'where data, logs and state of the services are', DEFAULT_DIRECTORY);
}

function describeInfo(info: StackInfo, directory: string): string[] {
  return [
    `Temporal      ${info.temporal.address}`,
    `Web UI        ${info.temporal.ui}`,
    `Kafka         ${info.kafka.brokers.join(', ')}`,
    `Redis source  ${info.redis.source}`,
    `Redis target  ${info.redis.target}`,
    `config        ${info.config}`,
    '',
    `next          npx keymend start --config ${join(directory, basename(info.config))}`,
    `to stop it    ${downCommand(directory)}`,
  ];
}

function describeService({ service, state, address, answers }: ServiceStatus): string {
  const silent = state !== 'stopped' && !answers ? '  (does not answer)' : '';
  const where = service === KEYMEND ? KEYMEND_TITLE : (address ?? '');
  return `${service.padEnd(14)} ${state.padEnd(9)} ${where}${silent}`;
}

/** Whoever is in another folder than at `stack up` would take running services for stopped. */
function absence(directory: string): string {
  return `no stack was ever started in ${resolve(directory)}; go where you started it, or name that with --directory`;
}
