import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, onTestFinished, test } from 'vitest';
import { birthOf, launch, logOf, processOf, terminate } from '../../src/stack/processes/process.js';
import { compileProgram } from './compiled.js';
import { idleProcess, scratchFolder } from './scratch.js';

const GRACE_MS = 10_000;

/** Starts a service that leaves a mark when it runs. */
const LAUNCH = `
import { launch } from './src/stack/processes/process.js';
const { FOLDER } = process.env;
const script = 'touch "$FOLDER/ran"';
await launch({ folder: FOLDER + '/service', program: '/bin/sh', arguments: ['-c', script], environment: process.env });
`;

async function launchIn(folder: string, script: string) {
  onTestFinished(async () => {
    await terminate(folder, 0);
  });
  return launch({ folder, program: '/bin/sh', arguments: ['-c', script], environment: process.env });
}

function read(path: string): string {
  return readFileSync(path, 'utf8');
}

describe('a launched process', () => {
  test('is found by its folder, and gone from there once terminated', async () => {
    const folder = scratchFolder();
    await launchIn(folder, 'exec sleep 600');
    expect(processOf(folder)?.pid).toBeGreaterThan(0);
    expect(await terminate(folder, GRACE_MS)).toBe('ended');
    expect(processOf(folder)).toBeUndefined();
    expect(await terminate(folder, GRACE_MS)).toBe('was not running');
  });

  test('is killed when it does not end when asked', async () => {
    const folder = scratchFolder();
    await launchIn(folder, 'trap "" TERM; echo deaf; while :; do sleep 0.1; done');
    await expect.poll(() => read(logOf(folder))).toBe('deaf\n');
    expect(await terminate(folder, 50)).toBe('killed');
    expect(processOf(folder)).toBeUndefined();
  });

  test('leaves what it printed, and keeps what the one before printed', async () => {
    const folder = scratchFolder();
    await launchIn(folder, 'echo first');
    await expect.poll(() => read(logOf(folder))).toBe('first\n');
    await launchIn(folder, 'echo second');
    await expect.poll(() => read(logOf(folder))).toBe('second\n');
    expect(read(`${logOf(folder)}.1`)).toBe('first\n');
  });

  test('never runs when the one who starts it is killed before it is recorded', async () => {
    const program = compileProgram(scratchFolder(), 'processes/process.ts', LAUNCH);
    const folder = scratchFolder();
    const tools = scratchFolder();
    // The record is written with `cat`; this one says that it was called, and waits.
    const cat =
      'echo "$0" > "$FOLDER/called"; while [ ! -e "$FOLDER/resume" ]; do sleep 0.02; done; exec /bin/cat "$@"';
    writeFileSync(join(tools, 'cat'), `#!/bin/sh\n${cat}\n`, { mode: 0o755 });
    const environment = { ...process.env, PATH: `${tools}:${process.env.PATH}`, FOLDER: folder };
    const starter = spawn(process.execPath, [program], { env: environment, stdio: 'ignore' });
    const exited = once(starter, 'exit');
    await expect.poll(() => existsSync(join(folder, 'called'))).toBe(true);
    starter.kill('SIGKILL');
    await exited;
    writeFileSync(join(folder, 'resume'), '');
    await expect.poll(() => existsSync(join(folder, 'service', 'pid'))).toBe(true);
    await expect.poll(() => processOf(join(folder, 'service'))).toBeUndefined();
    expect(existsSync(join(folder, 'ran'))).toBe(false);
  });

  test('is not mistaken for a later process with the same pid, which is left alone', async () => {
    const folder = scratchFolder();
    await launchIn(folder, 'exec sleep 600');
    const record = read(join(folder, 'pid'));
    const service = processOf(folder)?.pid;
    // The system tells births apart by its clock ticks.
    let later = await idleProcess();
    while (birthOf(later.pid) === birthOf(service!)) later = await idleProcess();
    writeFileSync(join(folder, 'pid'), record.replaceAll(`${service}`, `${later.pid}`));
    expect(processOf(folder)).toBeUndefined();
    expect(await terminate(folder, 0)).toBe('was not running');
    expect(birthOf(later.pid)).toBeDefined();
    writeFileSync(join(folder, 'pid'), record); // For the clean-up.
  });
});

test('a process that has ended was never born, also while nobody has collected it', async () => {
  const idle = await idleProcess();
  expect(birthOf(idle.pid)).toBeDefined();
  process.kill(idle.pid, 'SIGKILL');
  await expect.poll(() => birthOf(idle.pid)).toBeUndefined();
});
