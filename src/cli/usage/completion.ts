/** `keymend completion SHELL` */
import { Argument, Command } from 'commander';
import { completionScript, SHELLS, type Shell } from '../completion.js';
import { examples } from './options.js';

/** @param whole the program with all its verbs, from which the words are taken */
export function completionCommand(whole: () => Command): Command {
  return new Command('completion')
    .description('Print a script with which a shell completes verbs, options and their values')
    .addArgument(new Argument('<shell>', 'which shell').choices(SHELLS))
    .addHelpText(
      'after',
      examples(
        'npx keymend completion bash >> ~/.bashrc',
        'npx keymend completion zsh > "${fpath[1]}/_keymend"',
        'npx keymend completion fish > ~/.config/fish/completions/keymend.fish',
      ),
    )
    .action((shell: Shell) => {
      process.stdout.write(completionScript(shell, whole()));
    });
}
