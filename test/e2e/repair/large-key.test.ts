import { afterEach, beforeEach, expect, it } from 'vitest';
import { compareRedis } from '../../support/compare.js';
import { until } from '../../support/eventually.js';
import { createSandbox, recordOf, type Sandbox } from '../../support/keymend.js';

let sandbox: Sandbox;
beforeEach(async () => {
  sandbox = await createSandbox();
});
afterEach(() => sandbox?.close());

const FIELDS = 300_000;

async function fill(side: 'source' | 'target'): Promise<void> {
  for (let first = 0; first < FIELDS; first += 10_000) {
    const fields = Array.from({ length: 10_000 }, (_, i) => [`field:${first + i}`, `value ${first + i}`]);
    await sandbox[side].client.hset('large', ...fields.flat());
  }
}

async function pagesOf(side: 'source' | 'target'): Promise<number> {
  const stats = await sandbox[side].client.info('commandstats');
  return Number(/cmdstat_hscan:calls=(\d+)/.exec(stats)?.[1] ?? 0);
}

it('a large hash is repaired by a durable attempt; when the target hangs half-way, the next one goes on from there', async () => {
  const { source, target, producer, topic, client, prefix } = sandbox;
  await Promise.all([fill('source'), fill('target')]);
  // They are met by the target's pages alone. A write that the hang cut off would rightly be looked
  // after once more, from the first page.
  await target.client.hset('large', ...Array.from({ length: 1_000 }, (_, i) => [`only here ${i}`, '1']).flat());
  // So that it can be seen: the second attempt ends as soon as it finds the target out.
  sandbox.configure({ link: { retry: { initialInterval: '5s', maximumInterval: '5s' } } });
  await Promise.all([source, target].map((server) => server.client.config('RESETSTAT')));
  await sandbox.start('start');
  await producer.send({ topic, messages: [recordOf('large', { command: 'HSET' })] });

  await until(async () => (await pagesOf('source')) > 200);
  target.freeze();
  const handle = client.workflow.getHandle(`${prefix}large`);
  const attemptsOf = async () => (await handle.describe()).raw.pendingActivities?.[0]?.attempt ?? 0;
  await until(async () => (await attemptsOf()) > 1);
  target.thaw();
  expect(await handle.result()).toMatchObject({ outcome: 'repaired' });

  expect(await compareRedis(source.client, target.client)).toEqual([]);
  // What an attempt had begun and not reported is read once more: far less than 200 pages.
  const pages = Math.ceil(FIELDS / 500);
  expect(await pagesOf('source')).toBeLessThan(pages + 150);
});
