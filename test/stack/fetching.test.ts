import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { expect, type TestContext, test } from 'vitest';
import { StackError, stackUp } from '../../src/stack/index.js';
import { run } from '../../src/stack/programs/command.js';
import { provideRedis62, provideTimeSkippingServer, provideValkey9 } from '../../src/stack/programs/index.js';
import { provideTemporal } from '../../src/stack/temporal.js';
import { startRedis } from '../support/redis.js';
import { startTimeSkipping } from '../support/time-skipping.js';
import { onlyStarting, scratchFolder, silent, stackDirectory } from './scratch.js';

/** As on a machine that has the package managers, but nothing of ours yet. */
function nothingCached(environment: NodeJS.ProcessEnv): NodeJS.ProcessEnv & { XDG_CACHE_HOME: string } {
  return { ...environment, XDG_CACHE_HOME: scratchFolder() };
}

/** Where it can't be fetched, the test says why it was skipped; in CI nothing may be skipped. */
async function fetched<T>(context: TestContext, attempt: Promise<T>): Promise<T> {
  return attempt.catch((error: unknown) => {
    if (error instanceof StackError && !process.env.CI) context.skip(error.message);
    throw error;
  });
}

test('Kafka is fetched into an empty cache, with a word on how much and how long, and runs', async (context) => {
  const environment = nothingCached(onlyStarting('kafka'));
  const lines: string[] = [];
  const report = (line: string) => lines.push(line);
  const up = stackUp({ directory: stackDirectory(), environment, report, preferredPorts: 'free' });
  const { kafka } = await fetched(context, up);
  expect(lines.find((line) => /fetching|downloading/.test(line))).toMatch(/ \(.* MB, .* minute.*\)$/);
  expect(lines.at(-1)).toBe(`Kafka: up on port ${kafka.brokers[0]?.split(':')[1]}`);
});

test('Temporal is fetched into an empty cache, and is the server that this version is made for', async (context) => {
  const environment = nothingCached(process.env);
  const path = await fetched(context, provideTemporal({ environment, report: silent }));
  expect(await run(path, ['--version'], { environment, timeoutMs: 10_000 })).toMatch(/Server 1\.32\./);
});

test('the time-skipping server is fetched into an empty cache, and a timer of 30 days passes', async (context) => {
  const environment = nothingCached(process.env);
  const path = await fetched(context, provideTimeSkippingServer({ environment, report: silent }));
  expect(path).toMatch(new RegExp(`^${join(environment.XDG_CACHE_HOME, 'keymend')}`));
  const workflows = await startTimeSkipping(path);
  try {
    const before = await workflows.currentTimeMs();
    await workflows.sleep('30 days');
    expect((await workflows.currentTimeMs()) - before).toBeGreaterThanOrEqual(30 * 86_400_000);
  } finally {
    await workflows.teardown();
  }
});

test.for([
  ['Redis 6.2', provideRedis62, /redis_version:6\.2\./],
  ['Valkey 9', provideValkey9, /valkey_version:9\./],
] as const)('%s is fetched into an empty cache, and runs', async ([_title, provide, version], context) => {
  const environment = nothingCached(process.env);
  const binary = await fetched(context, provide({ environment, report: silent }));
  expect(existsSync(binary)).toBe(true);
  const server = await startRedis([], { binary });
  try {
    expect(await server.client.info('server')).toMatch(version);
  } finally {
    await server.stop();
  }
});
