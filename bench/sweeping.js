/** Sweeps one link again and again at the default intensity, until it is killed. Needs a build. */
import { connectRedis } from '../dist/src/redis/index.js';
import { sweepLink } from '../dist/src/sweep/sweep.js';

const [source, target] = process.argv.slice(2);
const sides = {
  source: connectRedis({ url: source }, { name: 'source' }),
  target: connectRedis({ url: target }, { name: 'target' }),
};
const request = {
  expiryToleranceMs: 100,
  deleteGuard: { minimumRatio: 0.5, minimumGap: 10 },
  settleMs: 1_000,
  options: {},
  state: undefined,
  signal: new AbortController().signal,
  onProgress() {},
};
process.send('begun');
for (;;) await sweepLink(sides, request);
