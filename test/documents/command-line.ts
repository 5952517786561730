/** The command line as the documents see it: what can be called, and how. Nothing of it is run. */
import { Command, type Option } from 'commander';
import { withGlobalOptions } from '../../src/cli/usage/options.js';
import { read, table } from './generated.js';

/** The program of src/cli/main.ts, which would read the arguments of this process. */
export async function keymendProgram(): Promise<Command> {
  const program = withGlobalOptions(new Command('keymend').version(''));
  const verbs = read('src/cli/main.ts').matchAll(/import\('\.\/usage\/([\w-]+)\.js'\)\)\.(\w+)\(/g);
  for (const [, file, name] of verbs) {
    const usage = (await import(`../../src/cli/usage/${file}.ts`)) as Record<string, (whole: () => Command) => Command>;
    program.addCommand(usage[name!]!(() => program));
  }
  return program;
}

export function everyCommand(command: Command): Command[] {
  return [command, ...command.commands.flatMap(everyCommand)];
}

/** For example `keymend stack up`. */
function nameOf(command: Command): string {
  return command.parent === null ? command.name() : `${nameOf(command.parent)} ${command.name()}`;
}

/** The lines that its help ends with. */
function examplesOf(command: Command): string {
  let help = '';
  command.configureOutput({ writeOut: (text) => (help += text) }).outputHelp();
  const [, lines = ''] = /\nExamples?:\n([\s\S]*)$/.exec(help) ?? [];
  return lines.trim().replace(/^ +/gm, '');
}

function optionRows(options: readonly Option[]): string[][] {
  return options.map(({ flags, description, defaultValue, argChoices, mandatory }) => [
    `\`${flags}\``,
    [description, argChoices && `(${argChoices.join(', ')})`].filter(Boolean).join(' '),
    mandatory ? 'needed' : defaultValue === undefined ? '' : `\`${String(defaultValue)}\``,
  ]);
}

function section(command: Command): string {
  const rows = [
    ...command.registeredArguments.map((argument) => [
      `\`${argument.required ? `<${argument.name()}>` : `[${argument.name()}]`}\``,
      [argument.description, argument.argChoices && `(${argument.argChoices.join(', ')})`].filter(Boolean).join(' '),
      argument.required ? 'needed' : '',
    ]),
    ...optionRows(command.options),
  ];
  const parts = [
    `### \`${nameOf(command)}\``,
    `${command.description()}.`,
    rows.length === 0 ? '' : table(['argument or option', 'what it says', 'default'], rows),
    command.commands.length === 0
      ? ''
      : `Verbs below it: ${command.commands
          .map(nameOf)
          .map((name) => `\`${name}\``)
          .join(', ')}.`,
    `\`\`\`sh\n${examplesOf(command)}\n\`\`\``,
  ];
  return parts.filter((part) => part !== '').join('\n\n');
}

export async function commandLineReference(): Promise<string> {
  const program = await keymendProgram();
  const globals = `### Options of every verb\n\nBefore its name or behind it. Besides, \`-h, --help\` shows how a verb is used.\n\n${table(['option', 'what it says', 'default'], optionRows(program.options))}`;
  return [globals, ...everyCommand(program).slice(1).map(section)].join('\n\n');
}
