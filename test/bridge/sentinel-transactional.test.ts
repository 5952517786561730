import { Redis } from 'ioredis';
import { expect, onTestFinished, test } from 'vitest';
import { createDualWriter } from '../../src/dual-write/dual-writer.js';
import { connectAfterDetectedFailover } from '../../src/dual-write/failover.js';
import { mirrorOptions } from '../../src/dual-write/target/mirror-options.js';
import { createOutbox } from '../../src/outbox/record-sink.js';
import { startRedis } from '../support/redis.js';
import { FAILOVERS } from '../support/sentinel.js';
import { until } from './bridge-bed.js';
import { sentinelBed } from './sentinel-bed.js';

const STREAM = 'keymend:outbox';

test.each(FAILOVERS)(
  'transactional mode covers writes after a failover of the source %s, and removes their entries',
  async (_how, failOver) => {
    const bed = await sentinelBed();
    const targetServer = await startRedis();
    const source = new Redis({ ...bed.options, failoverDetector: true, retryStrategy: () => 50 });
    const target = new Redis(targetServer.port, '127.0.0.1', mirrorOptions(500));
    for (const client of [source, target]) client.on('error', () => {});
    connectAfterDetectedFailover(source);
    const outbox = createOutbox({ client: new Redis(bed.options) });
    onTestFinished(async () => {
      source.disconnect();
      target.disconnect();
      await outbox.close();
      await targetServer.stop();
    });
    const told: unknown[] = [];
    const onError = (error: Error) => void told.push(error.message);
    const names = { link: 'l', origin: 'test' };
    const writer = createDualWriter({ ...names, source, target, records: outbox, onError, transactional: {} });
    writer.on('transactional', (change) => void told.push(change));
    await until(() => expect(target.status).toBe('ready'));
    await writer.set('k', 'before');
    await until(async () => expect(await bed.group.master.client.xlen(STREAM)).toBe(0));
    await bed.group.replicated();
    await failOver(bed.group);
    for (let turn = 0; turn < 50; turn++) await until(() => writer.set('k', turn));
    await until(async () => expect(await bed.group.master.client.xlen(STREAM)).toBe(0));
    const added = (await bed.group.master.client.xinfo('STREAM', STREAM)) as unknown[];
    expect(added[added.indexOf('entries-added') + 1]).toBeGreaterThanOrEqual(51);
    expect(await bed.group.master.client.get('k')).toBe('49');
    expect(await targetServer.client.get('k')).toBe('49');
    expect(told).toEqual([]);
    expect(writer.stats()).toMatchObject({ uncovered: 0, recorded: 0 });
  },
);
