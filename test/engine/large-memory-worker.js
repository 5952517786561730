/**
 * A process that reconciles one large key, with the compiled engine, and says how much its memory
 * grew.
 */
import { reconcileLargeKey } from '../../dist/src/engine/index.js';
import { connectRedis } from '../../dist/src/redis/index.js';

const [, , sourceUrl, targetUrl, key] = process.argv;
const sides = {
  source: connectRedis({ url: sourceUrl }, { name: 'source' }),
  target: connectRedis({ url: targetUrl }, { name: 'target' }),
};
await Promise.all([sides.source.check(), sides.target.check()]);
const idle = process.memoryUsage().rss;
let highest = idle;
const sampler = setInterval(() => {
  highest = Math.max(highest, process.memoryUsage().rss);
}, 5);
const options = { expiryToleranceMs: 100, deleteGuard: { minimumRatio: 0.5, minimumGap: 10 }, onProgress() {} };
const result = await reconcileLargeKey(sides, { key: Buffer.from(key) }, options);
clearInterval(sampler);
await Promise.all([sides.source.close(), sides.target.close()]);
process.stdout.write(JSON.stringify({ result, aboveIdleMiB: Math.round((highest - idle) / 2 ** 20) }));
