import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, onTestFinished, test } from 'vitest';
import { stackDown, stackUp } from '../../src/stack/index.js';
import { stack } from '../support/services.js';
import { bridgeBed, until } from './bridge-bed.js';

test('a bridge outlives its Kafka: one line says that it is gone, and no record is lost', {
  timeout: 120_000,
}, async () => {
  const directory = mkdtempSync(join(tmpdir(), 'keymend-kafka-'));
  const environment = {
    ...process.env,
    KEYMEND_STACK_TEMPORAL_ADDRESS: stack().temporal.address,
    KEYMEND_STACK_REDIS_SOURCE: stack().redis.source,
    KEYMEND_STACK_REDIS_TARGET: stack().redis.target,
  };
  const report = () => {};
  const up = () => stackUp({ directory, environment, report, preferredPorts: 'free' });
  onTestFinished(async () => {
    await stackDown({ directory, report });
    rmSync(directory, { recursive: true, force: true });
  });
  const { kafka } = await up();
  const bed = await bridgeBed({ brokers: kafka.brokers });
  const bridge = await bed.start();
  const other = await bed.start({
    config: { ...bed.config, kafka: { ...bed.config.kafka, groupId: `other-${Date.now()}` } },
  });
  await bed.produce({ id: 'before', key: 'k' });
  await bed.untilCommitted(1);

  await stackDown({ directory, report });
  await until(() =>
    expect(bed.warnings()).toEqual(Array(2).fill(expect.stringMatching(/^the Kafka consumer does not get on: /))),
  );
  // Also a bridge that has lost its Kafka can be stopped.
  await other.stop();
  await expect(other.finished).resolves.toBeUndefined();
  expect((await up()).kafka.brokers).toEqual(kafka.brokers);

  await until(() => bed.produce({ id: 'after', key: 'k' }));
  await until(async () => expect((await bed.signalledIds('k')).flat()).toContain('after'));
  await bed.untilCommitted(2);
  expect(new Set((await bed.signalledIds('k')).flat())).toEqual(new Set(['before', 'after']));
  await bridge.stop();
  await expect(bridge.finished).resolves.toBeUndefined();
});
