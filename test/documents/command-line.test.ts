/** docs/cli.md is the help of the command line, and pages call verbs as they can be called. */
import { CommanderError } from 'commander';
import { expect, it } from 'vitest';
import { commandLineReference, everyCommand, keymendProgram } from './command-line.js';
import { blocks, pages, pathOf, read, withGenerated } from './generated.js';

const PAGE = 'docs/cli.md';

it('docs/cli.md has every verb and option as the help has them; `npm run docs` writes it anew', async () => {
  await expect(withGenerated(PAGE, await commandLineReference())).toMatchFileSnapshot(pathOf(PAGE));
});

/** The words of a command, as a shell would give them; null where it has a placeholder. */
function wordsOf(line: string): string[] | null {
  const command = line.replace(/\s+#.*$/, '').split(/\s(?:>>?|\||&&)\s/)[0]!;
  if (/[…<[]|\b(?:VERB|NAME)\b/.test(command)) return null;
  return [...command.matchAll(/'([^']*)'|"([^"]*)"|(\S+)/g)].map(([, one, two, bare]) => one ?? two ?? bare!);
}

/** Text may name a verb without what it needs: `keymend skip`. A block is there to be copied. */
const NAMED_ALONE = ['commander.missingMandatoryOptionValue', 'commander.missingArgument', 'commander.help'];

function calledIn(page: string): { line: string; isNamed: boolean }[] {
  const inBlocks = blocks(page, 'sh')
    .flatMap((text) => text.replaceAll('\\\n', ' ').split('\n'))
    .filter((line) => line.startsWith('npx keymend '));
  const inText = [...read(page).matchAll(/`((?:npx )?keymend [^`]+)`/g)].map(([, call]) => call!);
  return [inBlocks, inText].flatMap((lines, at) =>
    lines.map((line) => ({ line: line.replace(/^(?:npx )?keymend /, ''), isNamed: at === 1 })),
  );
}

it('whatever a page says to call is a verb with its options', async () => {
  const program = await keymendProgram();
  for (const command of everyCommand(program)) {
    command.exitOverride().configureOutput({ writeErr: () => {} });
    if (command.commands.length === 0 || command.registeredArguments.length > 0 || command.name() === 'sweep')
      command.action(() => {});
  }
  // What the change log names may be of an earlier release.
  const calls = pages()
    .filter((page) => page !== 'CHANGELOG.md')
    .flatMap((page) => calledIn(page).map((call) => ({ page, ...call })));
  expect(calls.length).toBeGreaterThan(60);
  const wrong: string[] = [];
  for (const { page, line, isNamed } of calls) {
    const words = wordsOf(line);
    if (words === null) continue;
    await program.parseAsync(words, { from: 'user' }).catch((error: unknown) => {
      if (!(error instanceof CommanderError)) throw error;
      if (error.exitCode !== 0 && !(isNamed && NAMED_ALONE.includes(error.code)))
        wrong.push(`${page}: keymend ${line}: ${error.message}`);
    });
  }
  expect(wrong).toEqual([]);
});

it('a page with commands of other programs says whether a test runs them', () => {
  const silent = pages()
    .filter((page) => page === 'README.md' || page.startsWith('docs/'))
    .filter((page) =>
      blocks(page, 'sh').some((text) => text.split('\n').some((line) => /^(?!npx keymend|#)\S/.test(line))),
    )
    .filter((page) => !/\b(?:not run by a test|a test (?:runs|does))\b/i.test(read(page)));
  expect(silent).toEqual([]);
});
