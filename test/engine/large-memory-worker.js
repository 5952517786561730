/** A process that replaces one large key, with the compiled engine, and says how much its memory grew. */
import { replaceLargeKey } from '../../dist/src/engine/large/replacement.js';
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
const options = { expiryToleranceMs: 100, deleteGuard: { minimumRatio: 0.5, minimumGap: 10 } };
const result = await replaceLargeKey(sides, Buffer.from(key), options, () => {});
clearInterval(sampler);
await Promise.all([sides.source.close(), sides.target.close()]);
process.stdout.write(JSON.stringify({ result, aboveIdleMiB: Math.round((highest - idle) / 2 ** 20) }));
