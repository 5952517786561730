import { readFileSync } from 'node:fs';
import { expect, test } from 'vitest';
import { loadConfig } from '../../src/config.js';
import { StackError, stackDown, stackStatus, stackUp } from '../../src/stack/index.js';
import { freePort } from '../../src/stack/processes/ports.js';
import { startRedis } from '../support/redis.js';
import { stack } from '../support/services.js';
import { onlyStarting, processesIn, silent, stackDirectory } from './scratch.js';

test('services whose addresses are given are used, and never started nor stopped', async () => {
  const directory = stackDirectory();
  const environment = onlyStarting();
  const info = await stackUp({ directory, environment, report: silent });
  expect({ ...info, config: stack().config }).toEqual(stack());
  expect(processesIn(directory)).toEqual([]);
  expect(await stackDown({ directory, report: silent })).toEqual({ stopped: [] });
  const states = await stackStatus({ directory, environment });
  expect(states.map(({ service, state, answers }) => [service, state, answers])).toEqual([
    ['temporal', 'external', true],
    ['kafka', 'external', true],
    ['redis-source', 'external', true],
    ['redis-target', 'external', true],
  ]);
});

test('a password in a given address is used, and shown nowhere', async () => {
  const server = await startRedis(['--requirepass', 'p4ss']);
  try {
    const directory = stackDirectory();
    const url = `redis://:p4ss@127.0.0.1:${server.port}`;
    const environment = { ...onlyStarting(), KEYMEND_STACK_REDIS_TARGET: url };
    const info = await stackUp({ directory, environment, report: silent });
    expect(info.redis.target).toBe(url);
    expect(readFileSync(info.config, 'utf8')).not.toContain('p4ss');
    expect(loadConfig(info.config, environment).links[0]?.target).toEqual({ url });
    expect(JSON.stringify(await stackStatus({ directory, environment }))).not.toContain('p4ss');

    const wrong = { ...environment, KEYMEND_STACK_REDIS_TARGET: url.replace('p4ss', 'wr0ng') };
    const refused = stackUp({ directory, environment: wrong, report: silent });
    await expect(refused).rejects.toThrow(/WRONGPASS.*KEYMEND_STACK_REDIS_TARGET/);
    await expect(refused).rejects.not.toThrow(/wr0ng/);
  } finally {
    await server.stop();
  }
});

test('a given service that does not answer is one clear line', async () => {
  const nobody = `127.0.0.1:${await freePort()}`;
  const environment = { ...onlyStarting(), KEYMEND_STACK_KAFKA_BROKERS: nobody };
  const up = stackUp({ directory: stackDirectory(), environment, report: silent });
  await expect(up).rejects.toThrow(StackError);
  await expect(up).rejects.toThrow(`Kafka at ${nobody} does not answer`);
  await expect(up).rejects.toThrow('start it, or unset KEYMEND_STACK_KAFKA_BROKERS');
});

test.each([
  ['KEYMEND_STACK_TEMPORAL_ADDRESS', 'temporal.example'],
  ['KEYMEND_STACK_KAFKA_BROKERS', 'one:9092,two'],
  ['KEYMEND_STACK_REDIS_SOURCE', 'http://secret@redis.example'],
  ['KEYMEND_STACK_REDIS_TARGET', 'secret'],
])('an address that cannot be one is refused by the name of %s', async (variable, value) => {
  const up = stackUp({ directory: stackDirectory(), environment: { [variable]: value }, report: silent });
  await expect(up).rejects.toThrow(StackError);
  await expect(up).rejects.toThrow(new RegExp(`^${variable} must be`));
  await expect(up).rejects.not.toThrow(/secret/);
});

test('a directory that cannot be made is one clear line', async () => {
  const up = stackUp({ directory: '/dev/null/stack', environment: onlyStarting(), report: silent });
  await expect(up).rejects.toThrow(StackError);
  await expect(up).rejects.toThrow(/^\/dev\/null\/stack can't be created/);
});
