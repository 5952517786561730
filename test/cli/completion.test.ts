/** Shells complete what the parser takes. */
import { execFileSync } from 'node:child_process';
import { Command } from 'commander';
import { expect, it } from 'vitest';
import { completionScript, SHELLS } from '../../src/cli/completion.js';
import { runKeymend } from '../support/keymend.js';

/** What bash offers for the last word. */
function offered(script: string, ...words: string[]): string[] {
  const ask = 'eval "$1"; shift; COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); _keymend; printf "%s\\n" "${COMPREPLY[@]}"';
  return execFileSync('bash', ['-c', ask, 'bash', script, 'keymend', ...words], { encoding: 'utf8' })
    .split('\n')
    .filter((word) => word !== '');
}

it('bash offers verbs, those below them, options of the verb, and values', async () => {
  const { code, stdout: script } = await runKeymend(['completion', 'bash']);
  expect(code).toBe(0);
  expect(offered(script, 're')).toEqual(['reconcile', 'retry']);
  expect(offered(script, 'stack', 'st')).toEqual(['status']);
  expect(offered(script, 'retry', '--es')).toEqual(['--escalated']);
  expect(offered(script, 'status', '--es')).toEqual([]);
  expect(offered(script, 'status', '--output', '')).toEqual(['text', 'json']);
  // What an option takes is no verb, and a verb behind it is one.
  expect(offered(script, '--output', 'json', 'esc')).toEqual(['escalations']);
  expect(offered(script, 'retry', '--link', 'stack', '--dry')).toEqual(['--dry-run']);
  expect(offered(script, 'completion', '')).toEqual(expect.arrayContaining(['bash', 'zsh', 'fish']));
});

it('every verb and option of the parser is in the script of every shell', () => {
  const program = new Command('keymend').option('--colour <name>', "the user's own");
  program.command('paint').description('Paints. And more').option('--brush <file>', 'with it');
  for (const shell of SHELLS) {
    const script = completionScript(shell, program);
    for (const word of ['paint', 'colour', 'brush']) expect(script, shell).toContain(word);
  }
});

it('what it is told to write is a script that the shell takes', async () => {
  const { stdout } = await runKeymend(['completion', 'zsh']);
  // Its syntax is that of bash, as far as it goes.
  expect(stdout).toMatch(/^#compdef keymend\n/);
  execFileSync('bash', ['-n'], { input: stdout.replace(/^\s*local -a/gm, 'local -a') });
});
