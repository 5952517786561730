import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, onTestFinished, test } from 'vitest';
import { birthOf, launch, logOf, processOf, terminate } from '../../src/stack/process.js';
import { idleProcess, scratchFolder } from './scratch.js';

const GRACE_MS = 10_000;

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

  test('tells how it ended', async () => {
    const { ended } = await launchIn(scratchFolder(), 'exit 3');
    expect(await ended).toBe('ended with exit code 3');
  });

  test('leaves what it printed, and keeps what the one before printed', async () => {
    const folder = scratchFolder();
    await (await launchIn(folder, 'echo first')).ended;
    await (await launchIn(folder, 'echo second')).ended;
    expect(read(logOf(folder))).toBe('second\n');
    expect(read(`${logOf(folder)}.1`)).toBe('first\n');
  });

  test('is not mistaken for a later process with the same pid, which is left alone', async () => {
    const folder = scratchFolder();
    await launchIn(folder, 'exec sleep 600');
    const record = read(join(folder, 'pid'));
    const service = processOf(folder)?.pid;
    const later = await idleProcess();
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
