/** `keymend stack up|down|status` */
import { existsSync } from 'node:fs';
import { resolve } from 'node:path';
import { Command } from 'commander';
import { type ServiceStatus, type StackInfo, stackDown, stackStatus, stackUp } from '../stack/index.js';
import { globalOptions, print } from './context.js';

interface StackVerbOptions {
  readonly directory: string;
}

export function stackCommand(): Command {
  const up = verb('up', 'Start what does not run yet; prints where everything is').action(
    async ({ directory }: StackVerbOptions, command: Command) => {
      const info = await stackUp({ directory, environment: process.env, report });
      print(globalOptions(command), info, () => describeInfo(info));
    },
  );
  const down = verb('down', 'Stop what `stack up` started; the data stays').action(
    async ({ directory }: StackVerbOptions, command: Command) => {
      noteAbsence(directory);
      await stackDown({ directory, report });
      print(globalOptions(command), { stopped: true }, () => 'stopped');
    },
  );
  const status = verb('status', 'Show which services run').action(
    async ({ directory }: StackVerbOptions, command: Command) => {
      noteAbsence(directory);
      const services = await stackStatus({ directory, environment: process.env });
      print(globalOptions(command), services, () => services.map(describeService).join('\n'));
    },
  );
  return new Command('stack')
    .description('Local services for a try: Temporal with its Web UI, Kafka, two Redis; all real')
    .addCommand(up)
    .addCommand(down)
    .addCommand(status);
}

function verb(name: string, description: string): Command {
  return new Command(name)
    .description(description)
    .option('--directory <dir>', 'where data, logs and state of the services are', '.keymend');
}

function describeInfo(info: StackInfo): string {
  return [
    `Temporal      ${info.temporal.address}`,
    `Web UI        ${info.temporal.ui}`,
    `Kafka         ${info.kafka.brokers.join(', ')}`,
    `Redis source  ${info.redis.source}`,
    `Redis target  ${info.redis.target}`,
    `config        ${info.config}`,
  ].join('\n');
}

function describeService({ service, state, address, answers }: ServiceStatus): string {
  const silent = state !== 'stopped' && !answers ? '  (does not answer)' : '';
  return `${service.padEnd(14)} ${state.padEnd(9)} ${address ?? ''}${silent}`;
}

/** Whoever is in another folder than at `stack up` would take running services for stopped. */
function noteAbsence(directory: string): void {
  if (existsSync(directory)) return;
  report(`no stack was ever started in ${resolve(directory)}; go where you started it, or name that with --directory`);
}

function report(line: string): void {
  process.stderr.write(`${line}\n`);
}
