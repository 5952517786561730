import { expect, test } from 'vitest';
import { stackDown, whatRuns } from '../../src/stack/index.js';
import { birthOf } from '../../src/stack/process.js';
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
