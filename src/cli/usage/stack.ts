/** `keymend stack up|down|status` */
import { Command } from 'commander';
import { examples, globalOptions, STACK_DIRECTORY } from './options.js';

interface StackOptions {
  readonly directory: string;
}

interface UpOptions extends StackOptions {
  readonly mysql?: boolean;
}

export function stackCommand(): Command {
  const up = verb('up', 'Start what does not run yet; prints where everything is')
    .option('--mysql', 'also a MariaDB, for links whose source is a database')
    .addHelpText('after', examples('npx keymend stack up', 'npx keymend stack up --mysql --directory /tmp/try'))
    .action(async ({ directory, mysql = false }: UpOptions, command: Command) => {
      await (await import('../verbs/stack.js')).up(directory, mysql, globalOptions(command));
    });
  const down = verb(
    'down',
    'Stop what runs in the directory (what a demo kept: `--directory .keymend/demo`); the data stays',
  )
    .addHelpText('after', examples('npx keymend stack down', 'npx keymend stack down --directory .keymend/demo'))
    .action(async ({ directory }: StackOptions, command: Command) => {
      await (await import('../verbs/stack.js')).down(directory, globalOptions(command));
    });
  const status = verb('status', 'Show which services run')
    .addHelpText('after', examples('npx keymend stack status', 'npx keymend stack status --output json'))
    .action(async ({ directory }: StackOptions, command: Command) => {
      await (await import('../verbs/stack.js')).services(directory, globalOptions(command));
    });
  return new Command('stack')
    .description('Local services for a try: Temporal with its Web UI, Kafka, two Redis; all real')
    .addHelpText('after', examples('npx keymend stack up', 'npx keymend stack status'))
    .addCommand(up)
    .addCommand(down)
    .addCommand(status);
}

function verb(name: string, description: string): Command {
  return new Command(name)
    .description(description)
    .option('--directory <dir>', 'where data, logs and state of the services are', STACK_DIRECTORY);
}
