/** What is the fault of one key does not hold up the others for ever. */
import { ServiceError } from '@temporalio/client';
import { afterEach, expect, test, vi } from 'vitest';
import { backOff } from '../../src/patience/back-off.js';
import { bridgeBed, clientThat, failedWrite, gate } from './bridge-bed.js';

// Real, unless a test can't wait for a minute of them.
vi.mock(import('../../src/patience/back-off.js'), { spy: true });
afterEach(() => {
  vi.resetAllMocks();
});

/** As from a Temporal whose store takes no ID of that length. */
function storeFailed(): ServiceError {
  const details = 'value too long for type character varying(255)';
  const cause = Object.assign(new Error(`14 UNAVAILABLE: ${details}`), { code: 14, details, metadata: {} });
  return new ServiceError('Failed to signalWithStart Workflow', { cause });
}

test('a key that Temporal fails at each time while it takes others becomes a dead letter', async () => {
  vi.mocked(backOff).mockResolvedValue();
  const bed = await bridgeBed();
  let failures = 0;
  const client = clientThat(bed.client.workflow, async (key, send) => {
    if (key !== 'bad') return send();
    failures += 1;
    throw storeFailed();
  });
  await bed.start({ client });
  await bed.produce({ id: 'before', key: 'other' });
  await bed.untilCommitted(1);
  await bed.produce({ id: 'a', key: 'bad' });
  // Nobody sends anything meanwhile.
  await bed.untilCommitted(2);
  expect(failures).toBeGreaterThan(10);
  expect(new Set((await bed.signalledIds('other')).flat())).toEqual(new Set(['before']));
  const [letter] = await bed.deadLetters(1);
  expect(String(letter!.headers!['dlq.reason'])).toBe('temporal-rejected');
  expect(String(letter!.headers!['dlq.error.message'])).toContain('too long');
  expect(JSON.parse(String(letter!.value)).id).toBe('a');
});

test('while Temporal takes nothing, no key is given up on, however often it is tried', async () => {
  let attempts = 0;
  vi.mocked(backOff).mockImplementation(async () => {
    attempts += 1;
  });
  const bed = await bridgeBed();
  const { client, proxy } = await bed.clientThroughProxy();
  await bed.start({ client });
  await bed.produce({ key: 'before' });
  await bed.untilCommitted(1);
  proxy.cut();
  await bed.produce({ key: 'a' }, { key: 'b' });
  await expect.poll(() => attempts).toBeGreaterThan(100);
  proxy.restore();
  await bed.untilCommitted(3);
  expect(await bed.deadLetterCount()).toBe(0);
});

test('a key that is waited for holds up its own partition alone', async () => {
  const bed = await bridgeBed({ partitions: 2 });
  const [slow, waited] = [gate(), gate()];
  const client = clientThat(bed.client.workflow, async (key, send) => {
    if (key === 'slow') {
      waited.open();
      await slow.opened;
    }
    return send();
  });
  await bed.start({ client });
  await bed.produce({ key: 'slow' });
  // What one fetch brought is handled beside each other in any case.
  await waited.opened;
  for (const count of [1, 2]) {
    await bed.produce({ partition: 1, key: 'k', value: JSON.stringify(failedWrite({ key: 'k' })) });
    await bed.untilCommitted(0, count);
  }
  await bed.produce({ key: 'behind' });
  slow.open();
  await bed.untilCommitted(2, 2);
});

test('a bridge that is stopped while a key is waited for leaves it to the next one, once', async () => {
  const bed = await bridgeBed({ partitions: 2 });
  const [slow, waited] = [gate(), gate()];
  let isFirst = true;
  let underWay = 0;
  const client = clientThat(bed.client.workflow, async (key, send) => {
    if (key !== 'slow' || !isFirst) return send();
    waited.open();
    underWay += 1;
    await slow.opened;
    // As a call that ends late, whatever it is told meanwhile.
    await new Promise(setImmediate);
    underWay -= 1;
    throw storeFailed();
  });
  const bridge = await bed.start({ client });
  await bed.produce({ id: 'a', key: 'slow' });
  await waited.opened;
  await bed.produce({ partition: 1, key: 'k', value: JSON.stringify(failedWrite({ key: 'k' })) });
  await bed.untilCommitted(0, 1);
  const stopped = bridge.stop();
  isFirst = false;
  slow.open();
  await stopped;
  // Its connections may be closed now.
  expect(underWay).toBe(0);
  await bed.start({ client });
  await bed.untilCommitted(1, 1);
  expect(await bed.signalledIds('slow')).toEqual([['a']]);
});
