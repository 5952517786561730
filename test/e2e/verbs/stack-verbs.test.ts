import { chmodSync, mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, onTestFinished, test } from 'vitest';
import { stackDown } from '../../../src/stack/index.js';
import { birthOf } from '../../../src/stack/processes/process.js';
import { idleProcess, onlyStarting, processesIn, recordKeymend, scratchFolder, silent } from '../../stack/scratch.js';
import { stack } from '../../support/services.js';
import { runVerb, startVerb } from './verb.js';

test('`stack down` where nothing was ever started says only that', async () => {
  const folder = scratchFolder();
  mkdirSync(join(folder, '.keymend', 'demo'), { recursive: true });
  const line = `no stack was ever started in ${folder}/.keymend; go where you started it, or name that with --directory\n`;
  const run = (...args: string[]) => runVerb(folder, ['stack', ...args], onlyStarting());
  expect(await run('down')).toEqual({ code: 0, stdout: '', stderr: line });
  expect(await run('down', '--output', 'json')).toEqual({ code: 0, stdout: '{"stopped":[]}\n', stderr: line });
});

test('`stack up` ends with the next command, which goes with its directory, and how to stop it', async () => {
  const folder = scratchFolder();
  const up = (...args: string[]) => runVerb(folder, ['stack', 'up', ...args], onlyStarting());
  const { code, stdout } = await up();
  expect(code).toBe(0);
  expect(stdout).toContain(stack().temporal.ui);
  expect(stdout.trimEnd().split('\n').slice(-2)).toEqual([
    'next          npx keymend start --config .keymend/keymend.yaml',
    'to stop it    npx keymend stack down',
  ]);
  expect((await up('--directory', 'other')).stdout).toMatch(
    /start --config other\/keymend\.yaml\n.* stack down --directory other\n$/,
  );
});

test('`stack status` lists bridge and worker that a demo kept', async () => {
  const folder = scratchFolder();
  const directory = join(folder, 'demo');
  const { pid } = await idleProcess();
  const status = (...args: string[]) =>
    runVerb(folder, ['stack', 'status', '--directory', 'demo', ...args], onlyStarting());
  expect((await status()).stdout).not.toContain('keymend');
  recordKeymend(directory, pid, birthOf(pid));
  expect((await status()).stdout).toMatch(/^keymend +running +bridge and worker {2}\(does not answer\)$/m);
  writeFileSync(join(directory, 'keymend', 'output.log'), '{"level":30,"msg":"bridge is ready"}\n');
  expect((await status()).stdout).toMatch(/^keymend +running +bridge and worker$/m);
  const listed = JSON.parse((await status('--output', 'json')).stdout) as unknown[];
  expect(listed.at(-1)).toEqual({ service: 'keymend', state: 'running', pid, answers: true });
});

test('`stack up` that is interrupted says what stays running, and how to stop it', async () => {
  const folder = scratchFolder();
  const directory = join(folder, '.keymend');
  onTestFinished(() => stackDown({ directory, report: silent }).then(silent));
  const temporal = join(folder, 'temporal');
  // Never answers, so that the interruption comes while something is still being started.
  writeFileSync(temporal, '#!/bin/sh\n[ "$1" = --version ] && echo "(Server 1.32.0)" || exec sleep 600\n');
  chmodSync(temporal, 0o755);
  const environment = onlyStarting('temporal', 'redis-source');
  const up = startVerb(folder, ['stack', 'up'], { ...environment, PATH: `${folder}:${process.env.PATH}` });
  await up.says('Temporal: starting');
  await up.says('Redis (source): up on port');
  up.interrupt();
  const { code, stdout, stderr } = await up.ended;
  expect(code).toBe(130);
  expect(stdout).toBe('');
  expect(stderr.trimEnd().split('\n').at(-1)).toMatch(
    /^keymend: interrupted; stays running: (Temporal, )?Redis \(source\); stop it with `npx keymend stack down`$/,
  );
  expect((await runVerb(folder, ['stack', 'down'], environment)).stderr).toContain('Redis (source): stopped');
  expect(processesIn(directory)).toEqual([]);
});

test('`stack up` that is interrupted while it fetches ends the fetching', async () => {
  const folder = scratchFolder();
  // Instead of Python: the fetch that never ends.
  const python = join(folder, 'python3');
  writeFileSync(python, '#!/bin/sh\nexec /bin/sleep 600\n');
  chmodSync(python, 0o755);
  const environment = { ...onlyStarting('temporal'), PATH: folder, XDG_CACHE_HOME: scratchFolder() };
  const up = startVerb(folder, ['stack', 'up'], environment);
  await up.says('Temporal: downloading');
  up.interrupt();
  const { code, stderr } = await up.ended;
  expect(code).toBe(130);
  expect(stderr.trimEnd().split('\n').at(-1)).toBe('keymend: interrupted; nothing stays running');
});
