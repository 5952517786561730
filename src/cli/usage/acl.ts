/** `keymend acl print|check` */
import { Command, Option } from 'commander';
import { examples, globalOptions } from './options.js';

export function aclCommand(): Command {
  return new Command('acl')
    .description('The least rights on each Redis: for keymend, and for an application with a DualWriter')
    .addHelpText('after', examples('npx keymend acl print', 'npx keymend acl check'))
    .addCommand(
      withLink(new Command('print'))
        .description('Print the users as ACL SETUSER takes them, each with no more rights than it needs')
        .addHelpText('after', examples('npx keymend acl print --link east-to-west'))
        .action(async ({ link }: { readonly link?: string }, command: Command) => {
          await (await import('../verbs/acl.js')).aclPrint(link, globalOptions(command));
        }),
    )
    .addCommand(
      withLink(new Command('check'))
        .description(
          'Ask each Redis whether the user of the configuration, or that of an application, has these rights. Nothing is touched',
        )
        .addOption(new Option('--side <side>', 'of this side alone').choices(['source', 'target']))
        .option(
          '--application <user>',
          'check this user of an application instead: the commands, keys and channels of a DualWriter or a cache',
        )
        .addHelpText(
          'after',
          examples(
            'npx keymend acl check',
            'npx keymend acl check --output json',
            'npx keymend acl check --application shop --side target',
          ),
        )
        .action(async (options: object, command: Command) => {
          await (await import('../verbs/acl.js')).aclCheck(options, globalOptions(command));
        }),
    );
}

function withLink(command: Command): Command {
  return command.option('-l, --link <name>', 'of this link alone');
}
