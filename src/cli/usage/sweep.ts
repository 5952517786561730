/** `keymend sweep` and `keymend sweep rerun REPORT` */
import { Command, Option } from 'commander';
import { EXIT } from '../context.js';
import type { SweepFlags } from '../verbs/sweep.js';
import { examples, globalOptions } from './options.js';

export function sweepCommand(): Command {
  return new Command('sweep')
    .description(
      'Compare all keys of a link, both ways, and say what differs; joins a sweep that is under way. ' +
        `Exit codes: ${EXIT.ok} equal, ${EXIT.divergence} divergent, ${EXIT.incomplete} not all could be compared`,
    )
    .option('-l, --link <name>', 'the link; needed when there are several')
    .option('--match <pattern>', 'only keys of this pattern, as MATCH of Redis takes it')
    .option('--type <type>', 'only keys of this type, as TYPE of Redis says it')
    .option('--rate <keys>', 'at most so many keys a second (default: gently, ten at a time with rests between)')
    .option('--sample <percent>', 'only a random part, for example 1%: says how much differs at most')
    .addOption(
      new Option('--read-from <role>', 'where pages are read; masters decide in either case')
        .choices(['master', 'replica'])
        .default('master'),
    )
    .option('--repair', 'hand over what differs to batches, which make the target equal within the budget of the link')
    .option('--report <file>', 'write a report: FILE.json or FILE.html')
    .option('--every <interval>', 'let Temporal begin one so often, for example 24h; off: no more. Begins none now')
    .addHelpText('after', examples('npx keymend sweep', "npx keymend sweep --match 'user:*' --report sweep.html"))
    .addCommand(rerunCommand())
    .action(async (flags: SweepFlags, command: Command) => {
      await (await import('../verbs/sweep.js')).sweep(flags, globalOptions(command));
    });
}

function rerunCommand(): Command {
  return new Command('rerun')
    .description('Look once more at the keys that a report lists, and at no others')
    .argument('<report>', 'what `sweep --report FILE.json` has written')
    .addHelpText('after', examples('npx keymend sweep rerun sweep.json --repair'))
    .action(async (path: string, _: object, command: Command) => {
      await (await import('../verbs/sweep.js')).rerun(path, command.parent!.opts(), globalOptions(command));
    });
}
