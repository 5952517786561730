/** How long a person waits for the command line, in starts of an empty Node. */
import { execFile } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { test } from 'vitest';
import { stackDown, stackUp } from '../src/stack/index.js';
import { median } from './ratio.js';

const CLI = fileURLToPath(new URL('../dist/src/cli/main.js', import.meta.url));
const RUNS = 21;
const run = promisify(execFile);

test('verbs, in turns with an empty start', async () => {
  const directory = mkdtempSync(join(tmpdir(), 'keymend-bench-'));
  try {
    const { config } = await stackUp({ directory, environment: process.env, report() {} });
    const lines: [name: string, args: string[], wanted: number | null][] = [
      ['node -e 0', ['-e', '0'], null],
      ['keymend --help', [CLI, '--help'], 3],
      ['keymend status --help', [CLI, 'status', '--help'], 3],
      ['keymend status', [CLI, 'status', '--config', config], 8],
      ['keymend escalations', [CLI, 'escalations', '--config', config], 8],
    ];
    const times = lines.map((): number[] => []);
    for (let turn = 0; turn <= RUNS; turn++) {
      for (const [index, [, args]] of lines.entries()) {
        const begun = performance.now();
        await run(process.execPath, args);
        if (turn > 0) times[index]!.push(performance.now() - begun);
      }
    }
    const empty = median(times[0]!);
    for (const [index, [name, , wanted]] of lines.entries()) {
      const took = median(times[index]!);
      const goal = wanted === null ? '' : `  (wanted: at most ${wanted})${took / empty > wanted ? '  ABOVE' : ''}`;
      console.log(
        `${name.padEnd(24)} ${took.toFixed(0).padStart(5)} ms ${(took / empty).toFixed(2).padStart(6)}${goal}`,
      );
    }
  } finally {
    await stackDown({ directory, report() {} });
    rmSync(directory, { recursive: true, force: true });
  }
});
