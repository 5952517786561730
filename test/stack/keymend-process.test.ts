import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { ulid } from 'ulid';
import { expect, test } from 'vitest';
import { demoLock, StackError, stackDown, whatRuns, withLock } from '../../src/stack/index.js';
import { birthOf } from '../../src/stack/processes/process.js';
import { idleProcess, recordKeymend, scratchFolder, silent } from './scratch.js';

test('bridge and worker that a demo left are found by whoever comes later, and stopped by `stack down`', async () => {
  const directory = scratchFolder();
  const { pid } = await idleProcess();
  recordKeymend(directory, pid, birthOf(pid));
  expect(whatRuns(directory)).toEqual(['bridge and worker']);
  const lines: string[] = [];
  expect(await stackDown({ directory, report: (line) => lines.push(line) })).toEqual({ stopped: ['keymend'] });
  expect(lines).toEqual(['bridge and worker: stopped']);
  expect(birthOf(pid)).toBeUndefined();
  expect(whatRuns(directory)).toEqual([]);
});

test('while another process runs a demo, `stack down` stops nothing and says which one', async () => {
  const directory = scratchFolder();
  const kept = await idleProcess();
  recordKeymend(directory, kept.pid, birthOf(kept.pid));
  const demo = await idleProcess();
  mkdirSync(demoLock(directory));
  writeFileSync(join(demoLock(directory), `lock.${ulid()}`), `${demo.pid}\n${birthOf(demo.pid)}`);
  const down = () => stackDown({ directory, report: silent });
  await expect(down()).rejects.toThrow(StackError);
  await expect(down()).rejects.toThrow(`process ${demo.pid} is running a demo in ${directory}; interrupt that one`);
  expect(whatRuns(directory)).toEqual(['bridge and worker']);
  await demo.end();
  expect(await down()).toEqual({ stopped: ['keymend'] });
});

test('whoever runs a demo stops what it started', async () => {
  const directory = scratchFolder();
  const { pid } = await idleProcess();
  recordKeymend(directory, pid, birthOf(pid));
  const stopped = withLock({ folder: demoLock(directory), onWait: silent }, () =>
    stackDown({ directory, report: silent }),
  );
  expect(await stopped).toEqual({ stopped: ['keymend'] });
});

test('a record of a process that is gone, or whose pid another one has now, counts for nothing', async () => {
  const gone = await idleProcess();
  const birth = birthOf(gone.pid);
  await gone.end();
  const directory = scratchFolder();
  recordKeymend(directory, gone.pid, birth);
  expect(whatRuns(directory)).toEqual([]);

  const other = await idleProcess();
  const reused = scratchFolder();
  // Of one that surely began at another moment: two in a row can begin in the same tick.
  recordKeymend(reused, other.pid, birthOf(process.pid));
  expect(whatRuns(reused)).toEqual([]);
  expect(await stackDown({ directory: reused, report: silent })).toEqual({ stopped: [] });
  expect(birthOf(other.pid)).toBeDefined();
});
