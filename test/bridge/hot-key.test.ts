/** A key that fails all the time, with real Kafka and Temporal. */
import { expect, onTestFinished, test } from 'vitest';
import { createSandbox, recordOf } from '../support/keymend.js';
import { bridgeBed, until } from './bridge-bed.js';

const RECORDS = 400;
/** Of an outbox, as many entries as it is read by. */
const BATCH = 500;
const BATCHES = 12;

test('a key that keeps failing is signalled every two seconds or so, with all that has failed meanwhile', async () => {
  const bed = await bridgeBed();
  await bed.start();
  const begunAt = performance.now();
  for (let sent = 0; sent < RECORDS; sent++) await bed.produce({ id: `#${sent}`, key: 'hot' });
  await until(async () => {
    expect((await bed.committed())[0]).toBe(RECORDS);
  });
  const signals = await bed.signalledIds('hot');
  // Three at once, and from then on by the clock.
  expect(signals.length).toBeLessThanOrEqual(4 + (performance.now() - begunAt) / 2_000);
  expect(signals.length).toBeGreaterThan(1);
});

test('keys that fail now and then are not held up', async () => {
  const bed = await bridgeBed();
  await bed.start();
  for (let turn = 0; turn < 3; turn++) {
    await bed.produce(...['a', 'b'].map((key) => ({ id: `${key}#${turn}`, key })));
    await until(async () => expect((await bed.signalledIds('b')).flat()).toContain(`b#${turn}`));
  }
  await until(async () => expect(await bed.signalledIds('a')).toEqual([['a#0'], ['a#1'], ['a#2']]));
});

test('in an outbox it does not hold up what is behind it', async () => {
  const sandbox = await createSandbox();
  onTestFinished(() => sandbox.close());
  sandbox.configure({ config: { intake: 'redis-stream', kafka: undefined } });
  const pipeline = sandbox.source.client.pipeline();
  for (let index = 0; index < BATCHES * BATCH; index++) {
    const key = index % BATCH === 0 ? 'hot' : `other:${Math.floor(index / BATCH)}`;
    const { value } = recordOf(key, { id: `#${index}` });
    pipeline.xadd('keymend:outbox', '*', 'key', key, 'value', value);
  }
  await pipeline.exec();
  await sandbox.start('bridge');
  const signalsOf = async (key: string) => {
    const { events } = await sandbox.client.workflow.getHandle(sandbox.prefix + key).fetchHistory();
    return events!.filter(({ workflowExecutionSignaledEventAttributes: signal }) => signal != null).length;
  };
  await until(() => signalsOf(`other:${BATCHES - 1}`));
  // Were each batch to wait for its turn: as many as there are batches before.
  expect(await signalsOf('hot')).toBeLessThan(BATCHES / 2);
  await until(async () => expect(await sandbox.source.client.xlen('keymend:outbox')).toBe(0));
});
