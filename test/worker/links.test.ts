/** The links of a worker, as the configuration has them. */
import { randomBytes } from 'node:crypto';
import { pino } from 'pino';
import { afterAll, beforeAll, expect, test, vi } from 'vitest';
import { parseConfig } from '../../src/config.js';
import { reconcileKeys } from '../../src/engine/index.js';
import { Metrics } from '../../src/telemetry/metrics.js';
import { workerMetrics } from '../../src/telemetry/worker-metrics.js';
import { connectLinks } from '../../src/worker/links.js';
import { type RedisServer, startRedis } from '../support/redis.js';

let source: RedisServer;
let target: RedisServer;
beforeAll(async () => {
  [source, target] = await Promise.all([startRedis(), startRedis()]);
});
afterAll(async () => {
  await Promise.all([source?.stop(), target?.stop()]);
});

/** @returns for how long the link's budget is taken by a repair of so many bytes, in seconds */
async function takenBy(bytes: number, budget: { opsPerSecond: number; bytesPerSecond?: string }): Promise<number> {
  const link = { name: 'a', source: { url: source.url }, target: { url: target.url }, budget };
  const { links } = parseConfig(JSON.stringify({ intake: 'redis-stream', links: [link] }), 'the test', {});
  const budgetUsed = vi.fn();
  const metrics = { ...workerMetrics(new Metrics(), ['a']), budgetUsed };
  const listenerOf = () => ({ began() {}, ended() {} });
  const { sides, options } = connectLinks(links, { listenerOf, metrics, logger: pino({ level: 'silent' }) }).get('a')!;
  try {
    // A server that does not know the scripts yet is sent the first repair twice.
    for (const size of [1, bytes]) {
      budgetUsed.mockClear();
      await source.client.set('k', randomBytes(size));
      const [result] = await reconcileKeys(sides, [{ key: Buffer.from('k') }], options);
      expect(result).toMatchObject({ outcome: 'repaired' });
    }
    const used = budgetUsed.mock.calls.reduce((sum, [, , operations]) => sum + operations, 0);
    return used / budget.opsPerSecond;
  } finally {
    await Promise.all([sides.source.close(), sides.target.close()]);
  }
}

test('a link takes no more bytes a second than its `budget.bytesPerSecond`', async () => {
  const bytes = 1_000_000;
  const ofTwoMegabytes = await takenBy(bytes, { opsPerSecond: 1_000, bytesPerSecond: '2MB' });
  expect(ofTwoMegabytes).toBeGreaterThan(0.45);
  expect(ofTwoMegabytes).toBeLessThan(0.75);
  expect(await takenBy(bytes, { opsPerSecond: 1_000, bytesPerSecond: '20MB' })).toBeLessThan(0.1);
});
