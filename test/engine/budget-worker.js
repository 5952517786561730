/**
 * A worker of a link, in a process of its own: reconciles the keys it is sent, deferred ones again
 * when they are due.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { reconcileKeys } from '../../dist/src/engine/index.js';
import { connectRedis } from '../../dist/src/redis/index.js';
import { reportStandstills } from '../support/standstills.js';

const { source, target, opsPerSecond } = JSON.parse(process.argv[2]);
const sides = {
  source: connectRedis(source, { name: 'source' }),
  target: connectRedis(target, { name: 'target', budget: { link: 'east-to-west', opsPerSecond } }),
};
const options = { expiryToleranceMs: 100, deleteGuard: { minimumRatio: 0.5, minimumGap: 10 } };

process.once('message', async (keys) => {
  let requests = keys.map((key) => ({ key: Buffer.from(key) }));
  while (requests.length > 0) {
    const results = await reconcileKeys(sides, requests, options);
    requests = requests.filter((_, index) => results[index].outcome === 'deferred');
    const retryAfter = results.filter(({ outcome }) => outcome === 'deferred').map((result) => result.retryAfterMs);
    if (requests.length > 0) await sleep(Math.min(...retryAfter));
  }
  process.send('done');
});

await Promise.all([sides.source.check(), sides.target.check()]);
process.send('ready');
reportStandstills();
