/** The example of docs/mysql.md, with little load: what is left behind by hand alone. */
import { execFile } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { expect, test } from 'vitest';
import { provideMariadb } from '../../src/stack/programs/index.js';
import { startingAll } from '../stack/scratch.js';
import { describeWith } from '../support/services.js';

const RUN = fileURLToPath(new URL('../../examples/mysql/run.js', import.meta.url));
const WRITES = '80';

await describeWith('the example of a cache in front of MariaDB', provideMariadb, () => {
  test('leaves old values behind where they are deleted by hand, and none with keymend/cache', async () => {
    const run = promisify(execFile)(process.execPath, [RUN, WRITES], { env: startingAll() });
    const { stdout } = await run;
    const row = (name: string) => {
      const [, ...numbers] = new RegExp(`^${name} +(\\d+) +(\\d+) +\\d+ +(\\d+) of 100$`, 'm').exec(stdout) ?? [];
      const [reads, old, left] = numbers.map(Number);
      return { reads, old, left };
    };
    const [byHand, ours] = [row('deleted by hand'), row('keymend/cache')];
    expect(byHand.old).toBeGreaterThan(0);
    expect(byHand.left).toBeGreaterThan(0);
    expect(ours.reads).toBeGreaterThan(0);
    expect(ours.left).toBe(0);
  });
});
