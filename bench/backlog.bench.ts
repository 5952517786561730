/** The memory of a bridge that works on a large backlog, against one that works on a small one. */
import { fork } from 'node:child_process';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';
import { test } from 'vitest';
import { startRedis } from '../test/support/redis.js';
import { median, report, versions } from './ratio.js';

/** The row of the table wants 10,000,000, which takes ten times as long. */
const LARGE = 1_000_000;
const SMALL = 10_000;
const TURNS = 3;

test('the memory of a bridge', async () => {
  const source = await startRedis();
  try {
    console.log(`${await versions(source.client)}, ${TURNS} turns, ${LARGE} records and ${SMALL}`);
    const used: Record<'large' | 'small', number[]> = { large: [], small: [] };
    for (let turn = 0; turn < TURNS; turn++) {
      used.large.push(await memoryAt(LARGE, source.url));
      used.small.push(await memoryAt(SMALL, source.url));
    }
    report(`resident memory at ${SMALL} records: at ${LARGE}`, median(used.small) / median(used.large), 1 / 1.2);
  } finally {
    await source.stop();
  }
});

async function memoryAt(records: number, source: string): Promise<number> {
  const program = fileURLToPath(new URL('./backlog.js', import.meta.url));
  const process = fork(program, [`${records}`, source], { execArgv: ['--expose-gc'], stdio: 'inherit' });
  const [{ bytes, residentBytes }] = (await once(process, 'message')) as [{ bytes: number; residentBytes: number }];
  const mib = (size: number) => `${(size / 1024 ** 2).toFixed(1)} MiB`;
  console.log(`${records} records: ${mib(bytes)} in use after a collection, ${mib(residentBytes)} resident at most`);
  return residentBytes;
}
