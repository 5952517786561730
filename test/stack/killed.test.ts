import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { dirname } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { stackDown, stackStatus, stackUp } from '../../src/stack/index.js';
import { compileProgram } from './compiled.js';
import { processesIn, silent, stackDirectory, startingAll, stopAndRemove, temporaryFolder } from './scratch.js';

const PROGRAM = `
import { stackUp } from './src/stack/index.js';
const report = (line) => console.log(line);
const info = await stackUp({ directory: process.argv[2], environment: process.env, report, preferredPorts: 'free' });
console.log(JSON.stringify(info));
`;

/** The stack as a program of its own, so that it can be killed. */
let program: string;

beforeAll(() => {
  program = compileProgram(temporaryFolder(), 'index.ts', PROGRAM);
});
afterAll(() => stopAndRemove(dirname(program)));

test('`up` killed at any moment leaves what the next one completes: every service once, and none after `down`', async () => {
  const directory = stackDirectory();
  const environment = startingAll();
  // From before anything is there, over the format of Kafka's storage and each start, to everything
  // being up.
  for (const afterMs of [150, 400, 700, 1100, 1600, 2400]) {
    const child = spawn(process.execPath, [program, directory], { env: environment, stdio: 'ignore' });
    const exited = once(child, 'exit');
    await sleep(afterMs);
    child.kill('SIGKILL');
    await exited;
    // Now and then all is stopped, so that the next one starts what has data already.
    if (afterMs === 1100) await stackDown({ directory, report: silent });
  }
  await stackUp({ directory, environment, report: silent, preferredPorts: 'free' });
  const states = await stackStatus({ directory, environment });
  expect(states.map(({ state, answers }) => [state, answers])).toEqual(Array(4).fill(['running', true]));
  if (process.platform === 'linux') expect(processesIn(directory)).toHaveLength(4);
  await stackDown({ directory, report: silent });
  expect(processesIn(directory)).toEqual([]);
});

test('two processes that bring the stack up at once agree on it', async () => {
  const directory = stackDirectory();
  const environment = startingAll();
  const up = async () => {
    const child = spawn(process.execPath, [program, directory], {
      env: environment,
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    let output = '';
    child.stdout.setEncoding('utf8').on('data', (text: string) => {
      output += text;
    });
    await once(child, 'close');
    return JSON.parse(output.trim().split('\n').at(-1) ?? '') as unknown;
  };
  const [one, other] = await Promise.all([up(), up()]);
  expect(one).toEqual(other);
  if (process.platform === 'linux') expect(processesIn(directory)).toHaveLength(4);
});
