/**
 * A sweep against what one would write by hand: SCAN the source, and a digest of the DUMP of each
 * key from both sides, in pipelines. By hand the keys of the target alone are found by counting
 * alone; nothing is looked at again, and equal sets and hashes may have different DUMPs.
 */
import { type ChildProcess, fork } from 'node:child_process';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';
import { test } from 'vitest';
import { sweepLink } from '../src/sweep/sweep.js';
import { DEFAULT_OPTIONS, startLink, type TestLink } from '../test/engine/link.js';
import { arriving, percentile } from './load.js';
import { type Contestant, median, report, speedRatio, versions } from './ratio.js';
import { DIGEST, digests, FILLS, fill, mixed, traffic } from './values.js';

/** The row of the table wants 1,000,000, which takes three times as long. */
const KEYS = 300_000;
const TURNS = 3;
const PAGE = 1_000;
const WRITES_PER_SECOND = 2_000;
const WRITES = 10_000;

const AS_FAST_AS_IT_GOES = 10_000_000;

test('sweep', async () => {
  const link = await startLink();
  try {
    console.log(`${await versions(link.source.client)}, ${TURNS} turns of ${KEYS} keys each`);
    for (const [name, how] of Object.entries({ 'small strings': FILLS.strings!, 'a mix of types': mixed })) {
      await Promise.all([link.source, link.target].map(({ client }) => fill(client, KEYS, how, 'same')));
      const shas = await Promise.all([link.source, link.target].map(({ client }) => client.script('LOAD', DIGEST)));
      const bytes: [number[], number[]] = [[], []];
      const counting = (of: 0 | 1, run: () => Promise<void>): Contestant => ({
        prepare: async () => {},
        async run() {
          const before = await traffic(link.source.client, link.target.client);
          await run();
          bytes[of].push((await traffic(link.source.client, link.target.client)) - before);
        },
      });
      const ratio = await speedRatio(
        counting(0, () => sweep(link)),
        counting(1, () => byHand(link, String(shas[0]))),
        TURNS,
      );
      report(`sweep of equal ${name}, keys/s: by hand`, ratio, 2);
      report(`bytes by hand: bytes of a sweep of equal ${name}`, median(bytes[1]) / median(bytes[0]), 2);
    }
    await besideASweep(link);
  } finally {
    await link.stop();
  }
});

async function sweep(link: TestLink): Promise<void> {
  const { summary } = await sweepLink(link.sides, {
    ...DEFAULT_OPTIONS,
    settleMs: 1_000,
    options: { rate: AS_FAST_AS_IT_GOES },
    state: undefined,
    signal: new AbortController().signal,
    onProgress() {},
  });
  if (summary?.outcome !== 'equal' || summary.compared !== KEYS) throw new Error(JSON.stringify(summary));
}

/** The next page of SCAN is asked for while both sides digest the one before. */
async function byHand({ source, target }: TestLink, sha: string): Promise<void> {
  const scan = (cursor: string) => source.client.scanBuffer(cursor, 'COUNT', PAGE);
  let compared = 0;
  for (let next: ReturnType<typeof scan> | null = scan('0'); next !== null; ) {
    const [cursor, keys]: [Buffer, Buffer[]] = await next;
    next = String(cursor) === '0' ? null : scan(String(cursor));
    const [one, other] = await Promise.all([digests(source.client, sha, keys), digests(target.client, sha, keys)]);
    one.forEach((digest, index) => {
      if (String(digest) === String(other[index])) compared += 1;
    });
  }
  if ((await source.client.dbsize()) !== (await target.client.dbsize()) || compared === 0)
    throw new Error('they differ');
}

/** Writes on both servers while another process sweeps at the default intensity, and not. */
async function besideASweep({ source, target }: TestLink): Promise<void> {
  const p99: Record<'alone' | 'beside', { source: number[]; target: number[] }> = {
    alone: { source: [], target: [] },
    beside: { source: [], target: [] },
  };
  for (let turn = 0; turn <= TURNS; turn++) {
    for (const how of ['alone', 'beside'] as const) {
      const sweeping = how === 'beside' ? await startSweeping(source.url, target.url) : null;
      for (const [side, { client }] of Object.entries({ source, target })) {
        const { latencies } = await arriving(client, WRITES_PER_SECOND, WRITES, turn + 1);
        if (turn > 0) p99[how][side as 'source' | 'target'].push(percentile(latencies, 0.99));
      }
      if (sweeping !== null) {
        sweeping.kill();
        await once(sweeping, 'exit');
      }
    }
  }
  for (const side of ['source', 'target'] as const) {
    const [alone, beside] = [median(p99.alone[side]), median(p99.beside[side])];
    console.log(`p99 of a write on the ${side}: ${alone.toFixed(2)} ms alone, ${beside.toFixed(2)} ms beside a sweep`);
    report(`p99 on the ${side} without: with a sweep at its default intensity`, alone / beside, 1 / 1.1);
  }
}

async function startSweeping(source: string, target: string): Promise<ChildProcess> {
  const program = fileURLToPath(new URL('./sweeping.js', import.meta.url));
  const sweeping = fork(program, [source, target], { stdio: 'inherit' });
  await once(sweeping, 'message');
  return sweeping;
}
