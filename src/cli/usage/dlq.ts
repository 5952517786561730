/** `keymend dlq list|show|group|redrive|discard` */
import { Command } from 'commander';
import { EXIT } from '../context.js';
import type { LetterFlags } from '../letter-filter.js';
import type { DiscardFlags, RedriveFlags } from '../verbs/dlq-redrive.js';
import { examples, globalOptions } from './options.js';

export function dlqCommand(): Command {
  return new Command('dlq')
    .description('Dead letters, of the Kafka topic or of the streams: what keymend could not finish')
    .addHelpText('after', examples('npx keymend dlq group', 'npx keymend dlq redrive --error TargetReadOnly'))
    .addCommand(groupCommand())
    .addCommand(listCommand())
    .addCommand(showCommand())
    .addCommand(redriveCommand())
    .addCommand(discardCommand());
}

function groupCommand(): Command {
  return withLetterOptions(new Command('group'))
    .description('Count dead letters by reason, error, link and prefix, with the next command for each group')
    .addHelpText('after', examples('npx keymend dlq group', 'npx keymend dlq group --older-than 1h'))
    .action(async (flags: LetterFlags, command: Command) => {
      await (await import('../verbs/dlq.js')).group(flags, globalOptions(command));
    });
}

function listCommand(): Command {
  return withLetterOptions(new Command('list'))
    .description('List dead letters, the oldest first')
    .option('--limit <count>', 'at most so many', '100')
    .addHelpText('after', examples('npx keymend dlq list', 'npx keymend dlq list --reason unknown-link --limit 5'))
    .action(async (flags: LetterFlags & { readonly limit: string }, command: Command) => {
      await (await import('../verbs/dlq.js')).list(flags, globalOptions(command));
    });
}

function showCommand(): Command {
  return new Command('show')
    .description('Show one dead letter with all that is known of it; of foreign bytes the size and a digest alone')
    .argument('<letter>', 'its name as `dlq list` shows it, or the ID of its event')
    .option('--raw', 'write the bytes of its value to stdout instead, which must not be a terminal')
    .addHelpText('after', examples('npx keymend dlq show 0/17', 'npx keymend dlq show 0/17 --raw > value.bin'))
    .action(async (name: string, flags: { readonly raw?: true }, command: Command) => {
      await (await import('../verbs/dlq-show.js')).show(name, flags, globalOptions(command));
    });
}

function redriveCommand(): Command {
  return withCommonOptions(new Command('redrive'))
    .description(
      'Try the keys of dead letters again, in steps of 1, 5, 20, … keys that stop when too many fail; what is equal then is ' +
        `resolved. Exit codes: ${EXIT.ok} all healed, ${EXIT.divergence} some failed again, ${EXIT.incomplete} some could not be tried`,
    )
    .option('--failure-ratio <part>', 'stop when more than this part of the keys of a step fails', '0.2')
    .addHelpText(
      'after',
      examples('npx keymend dlq redrive --group 1a2b3c4d', 'npx keymend dlq redrive --error TargetReadOnly --rate 500'),
    )
    .action(async (flags: RedriveFlags, command: Command) => {
      await (await import('../verbs/dlq-redrive.js')).redrive(flags, globalOptions(command));
    });
}

function discardCommand(): Command {
  return withCommonOptions(new Command('discard'))
    .description('Give dead letters up: they are not shown, nor tried, any more. The keys stay as they are')
    .option('--all', 'every open dead letter; needed where nothing else says which')
    .option('--yes', 'do it; without, it says how many it would be')
    .addHelpText('after', examples("npx keymend dlq discard --group 1a2b3c4d --why 'copied by hand' --yes"))
    .action(async (flags: DiscardFlags, command: Command) => {
      await (await import('../verbs/dlq-redrive.js')).discard(flags, globalOptions(command));
    });
}

function withCommonOptions(command: Command): Command {
  return withLetterOptions(command)
    .option('--max <letters>', 'at most so many letters')
    .option('--rate <letters>', 'at most so many letters a second')
    .option('--as <name>', 'who wants it, for whoever asks later (default: the user of this machine)')
    .option('--why <text>', 'why, for whoever asks later')
    .option('--dry-run', 'only say which letters it would be');
}

/** The options that say which dead letters are meant. */
function withLetterOptions(command: Command): Command {
  return command
    .option('--reason <reason>', 'only letters with this dlq.reason')
    .option('--error <type>', 'only letters with this error type')
    .option('-l, --link <name>', 'only letters of one link')
    .option('--prefix <prefix>', 'only letters whose key begins so')
    .option('--group <fingerprint>', 'only letters of one group, as `dlq group` shows them')
    .option('--older-than <time>', 'only letters that are there for so long, for example 10m')
    .option('--newer-than <time>', 'only letters that are not there for so long yet, for example 1h')
    .option('--since <when>', 'only letters from then on: ISO 8601, in UTC unless it names a zone')
    .option('--until <when>', 'only letters before then: ISO 8601, in UTC unless it names a zone');
}
