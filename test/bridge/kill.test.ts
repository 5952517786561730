import { fork } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { expect, onTestFinished, test } from 'vitest';
import { stack } from '../support/services.js';
import { bridgeBed, until } from './bridge-bed.js';

const PROGRAM = fileURLToPath(new URL('bridge-that-never-commits.js', import.meta.url));

test('a bridge killed between signal and commit: its records come again, with the ids by which they are known', async () => {
  const bed = await bridgeBed();
  const keys = ['a', 'b', 'c'];
  await bed.produce(...keys.map((key) => ({ id: `${key}#1`, key })));
  const child = fork(PROGRAM, [JSON.stringify({ config: bed.config, address: stack().temporal.address })]);
  const exited = new Promise((resolve) => child.once('exit', resolve));
  onTestFinished(() => void child.kill('SIGKILL'));
  let signalled = 0;
  child.on('message', () => signalled++);
  await until(() => expect(signalled).toBe(3));

  child.kill('SIGKILL');
  await exited;
  expect(await bed.committed()).toEqual([0]);

  await bed.start();
  await bed.untilCommitted(3);
  for (const key of keys) {
    const signals = await bed.signalledIds(key);
    // One of each bridge at least: where Temporal is slow to answer, a bridge sends its own again.
    expect(signals.length).toBeGreaterThanOrEqual(2);
    expect(new Set(signals.flat())).toEqual(new Set([`${key}#1`]));
  }
});
