import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setImmediate as yieldOnce } from 'node:timers/promises';
import { ulid } from 'ulid';
import { expect, test } from 'vitest';
import { withLock } from '../../src/stack/processes/lock.js';
import { birthOf } from '../../src/stack/processes/process.js';
import { compileProgram } from './compiled.js';
import { idleProcess, scratchFolder, silent } from './scratch.js';

const INCREMENT = `
import { readFileSync, writeFileSync } from 'node:fs';
import { setImmediate } from 'node:timers/promises';
import { withLock } from './src/stack/processes/lock.js';
const [folder, counter, times] = process.argv.slice(2);
for (let i = 0; i < Number(times); i++) {
  await withLock({ folder, onWait: () => {} }, async () => {
    const value = Number(readFileSync(counter, 'utf8'));
    await setImmediate();
    writeFileSync(counter, String(value + 1));
  });
}
`;

test('holders never overlap, and all get their turn', async () => {
  const folder = scratchFolder();
  let inside = 0;
  let most = 0;
  let turns = 0;
  const take = () =>
    withLock({ folder, onWait: silent }, async () => {
      most = Math.max(most, ++inside);
      for (let i = 0; i < 5; i++) await yieldOnce();
      inside--;
      turns++;
    });
  await Promise.all(Array.from({ length: 8 }, take));
  expect({ most, turns }).toEqual({ most: 1, turns: 8 });
});

test('processes never overlap either: none of their increments gets lost', async () => {
  const program = compileProgram(scratchFolder(), 'processes/lock.ts', INCREMENT);
  const folder = scratchFolder();
  const counter = join(folder, 'counter');
  writeFileSync(counter, '0');
  const increment = async () => {
    const child = spawn(process.execPath, [program, folder, counter, '100'], {
      stdio: ['ignore', 'ignore', 'inherit'],
    });
    expect(await once(child, 'exit')).toEqual([0, null]);
  };
  await Promise.all([increment(), increment(), increment()]);
  expect(readFileSync(counter, 'utf8')).toBe('300');
});

test('the lock of a live process is waited for, with its pid said once; that of a dead one is taken over', async () => {
  const folder = scratchFolder();
  const holder = await idleProcess();
  writeFileSync(join(folder, `lock.${ulid()}`), `${holder.pid}\n${birthOf(holder.pid)}`);
  const waits: number[] = [];
  let waited: () => void = silent;
  const waiting = new Promise<void>((resolve) => {
    waited = resolve;
  });
  let taken = false;
  const task = withLock(
    {
      folder,
      onWait: (pid) => {
        waits.push(pid);
        waited();
      },
    },
    async () => {
      taken = true;
    },
  );
  await waiting;
  expect(taken).toBe(false);
  await holder.end();
  await task;
  expect(taken).toBe(true);
  expect(waits).toEqual([holder.pid]);
});

test('a task that fails gives the lock back', async () => {
  const folder = scratchFolder();
  const failing = withLock({ folder, onWait: silent }, () => Promise.reject(new Error('no')));
  await expect(failing).rejects.toThrow('no');
  const waits: number[] = [];
  await withLock({ folder, onWait: (pid) => waits.push(pid) }, async () => {});
  expect(waits).toEqual([]);
});
