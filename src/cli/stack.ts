/** `keymend stack up|down|status` */
import { Command } from 'commander';
import { stackDown, stackStatus, stackUp } from '../stack/index.js';
import { globalOptions, print } from './context.js';

const DIRECTORY = '.keymend';

export function stackCommand(): Command {
  return new Command('stack')
    .description('Local services for a try: Temporal with its Web UI, Kafka, two Redis; all real')
    .addCommand(
      new Command('up')
        .description('Start what does not run yet; prints where everything is')
        .action(async (_options: unknown, command: Command) => {
          const info = await stackUp({ directory: DIRECTORY, environment: process.env, report });
          print(globalOptions(command), info, () =>
            [
              `Temporal      ${info.temporal.address}`,
              `Web UI        ${info.temporal.ui}`,
              `Kafka         ${info.kafka.brokers.join(', ')}`,
              `Redis source  ${info.redis.source}`,
              `Redis target  ${info.redis.target}`,
              `config        ${info.config}`,
            ].join('\n'),
          );
        }),
    )
    .addCommand(
      new Command('down')
        .description('Stop what `stack up` started; the data stays')
        .action(async (_options: unknown, command: Command) => {
          await stackDown({ directory: DIRECTORY, report });
          print(globalOptions(command), { stopped: true }, () => 'stopped');
        }),
    )
    .addCommand(
      new Command('status')
        .description('Show which services run')
        .action(async (_options: unknown, command: Command) => {
          const services = await stackStatus({ directory: DIRECTORY, environment: process.env });
          print(globalOptions(command), services, () =>
            services
              .map(
                ({ service, state, address, answers }) =>
                  `${service.padEnd(14)} ${state.padEnd(9)} ${address ?? ''}${state !== 'stopped' && !answers ? '  (does not answer)' : ''}`,
              )
              .join('\n'),
          );
        }),
    );
}

function report(line: string): void {
  process.stderr.write(`${line}\n`);
}
