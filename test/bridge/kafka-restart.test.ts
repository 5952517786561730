import { expect, test } from 'vitest';
import { Metrics } from '../../src/telemetry/metrics.js';
import { startOwnKafka } from '../support/own-kafka.js';
import { bridgeBed, until } from './bridge-bed.js';

test('a bridge outlives its Kafka: one line says that it is gone, and no record is lost', async () => {
  const kafka = await startOwnKafka();
  const bed = await bridgeBed({ brokers: kafka.brokers });
  const metrics = new Metrics();
  const bridge = await bed.start({ metrics });
  const reads = () => metrics.registry.getSingleMetricAsString('keymend_intake_reads');
  const groupId = `other-${Date.now()}`;
  const other = await bed.start({ config: { ...bed.config, kafka: { ...bed.config.kafka, groupId } } });
  const joins = () => bed.logs.filter(({ msg }) => msg.startsWith('reads') && msg.endsWith(groupId));
  await until(() => expect(joins()).toHaveLength(1));
  await bed.produce({ id: 'before', key: 'k' });
  await bed.untilCommitted(1);
  expect(await reads()).toMatch(/ 1$/);

  await kafka.stop();
  await until(() =>
    expect(bed.warnings()).toEqual(Array(2).fill(expect.stringMatching(/^the Kafka consumer does not get on: /))),
  );
  expect(await reads()).toMatch(/ 0$/);
  // Also a bridge that has lost its Kafka can be stopped.
  await other.stop();
  await expect(other.finished).resolves.toBeUndefined();
  await kafka.start();

  await until(() => bed.produce({ id: 'after', key: 'k' }));
  await until(async () => expect((await bed.signalledIds('k')).flat()).toContain('after'));
  await bed.untilCommitted(2);
  expect(await reads()).toMatch(/ 1$/);
  expect(new Set((await bed.signalledIds('k')).flat())).toEqual(new Set(['before', 'after']));
  // The one that was stopped stays away.
  expect(joins()).toHaveLength(1);
  await bridge.stop();
  await expect(bridge.finished).resolves.toBeUndefined();
});
