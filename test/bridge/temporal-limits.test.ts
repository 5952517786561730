import { TestWorkflowEnvironment } from '@temporalio/testing';
import { afterAll, afterEach, beforeAll, expect, test, vi } from 'vitest';
import { backOff } from '../../src/patience/back-off.js';
import { provideTemporal } from '../../src/stack/temporal.js';
import { describeWith } from '../support/services.js';
import { bridgeBed, clientThat, until } from './bridge-bed.js';

// Real, unless a test can't wait for a minute of them.
vi.mock(import('../../src/patience/back-off.js'), { spy: true });
afterEach(() => {
  vi.resetAllMocks();
});

const ANY = { taskQueue: 'none', signal: 'failedWrites' };
const MEMBERS = Array.from({ length: 500 }, (_, index) => `${index}`.padStart(100, 'm'));

await describeWith('a Temporal with low limits', provideTemporal, (path) => {
  let environment: TestWorkflowEnvironment;
  let temporal: string;

  beforeAll(async () => {
    const limits = {
      'history.maximumSignalsPerExecution': 3,
      // An error limit only counts above the limit for warnings.
      'limit.blobSize.warn': 10_000,
      'limit.blobSize.error': 60_000,
      'limit.historySize.warn': 10_000,
      'limit.historySize.error': 100_000,
    };
    environment = await TestWorkflowEnvironment.createLocal({
      server: {
        executable: { type: 'existing-path', path },
        log: { level: 'error', format: 'pretty' },
        extraArgs: Object.entries(limits).flatMap(([name, value]) => ['--dynamic-config-value', `${name}=${value}`]),
        searchAttributes: [{ name: 'KeymendLink', type: 'KEYWORD' }],
      },
    });
    temporal = environment.address;
  });
  afterAll(() => environment?.teardown());

  test('that refuses the signal of one key gets a dead letter of each of its records, and the other keys go on', async () => {
    const bed = await bridgeBed({ temporal });
    const members = [...MEMBERS, 'm'.repeat(10_000)];
    await bed.produce(
      { id: 'a', key: 'huge', members, failedAt: '2026-11-20T23:00:00.000Z' },
      { id: 'b', key: 'fine' },
      { id: 'c', key: 'huge', members: ['m'] },
    );
    const bridge = await bed.start();
    await bed.untilCommitted(3);
    expect(await bed.signalledIds('fine')).toEqual([['b']]);
    expect(bridge.counters).toEqual({ received: 3, signalled: 1, deadLettered: 2 });
    const letters = await bed.deadLetters(2);
    expect(letters.map(({ value }) => JSON.parse(String(value)).id)).toEqual(['a', 'c']);
    const headers = Object.entries(letters[0]!.headers!).map(([name, value]) => [name, String(value)]);
    expect(Object.fromEntries(headers)).toMatchObject({
      'dlq.reason': 'temporal-rejected',
      'dlq.stage': 'signal',
      'dlq.error.type': 'TemporalRejected',
      'dlq.error.code': 'INVALID_ARGUMENT',
      'dlq.error.message': 'Blob data size exceeds limit.',
      'dlq.attempts': '1',
      'dlq.event.id': 'a',
      'dlq.failed.first_at': '2026-11-20T23:00:00.000Z',
      'dlq.failed.last_at': '2026-11-20T23:00:00.000Z',
      'dlq.workflow.id': `${bed.config.links[0]!.workflowIdPrefix}huge`,
      'dlq.link': 'east-to-west',
      'dlq.command': 'SADD',
    });
  });

  test('that ended a workflow because nobody read its signals gets a new one that covers the whole key', async () => {
    const bed = await bridgeBed({ temporal });
    await bed.start();
    for (const id of ['a', 'b', 'c']) {
      await bed.produce({ id, key: 'crowded', members: MEMBERS });
      await until(async () => expect((await bed.signalledIds('crowded')).flat()).toContain(id));
    }
    // What the first one was told is gone with it, so members alone would not do.
    const { signals } = await bed.workflow('crowded');
    expect(signals).toHaveLength(1);
    expect(signals[0]![0]).toMatchObject({ id: 'c' });
    expect(signals[0]![0]).not.toHaveProperty('command');
    expect(signals[0]![0]).not.toHaveProperty('members');
    // Nor is it known to need no second look.
    expect(signals[0]![0]).not.toHaveProperty('idempotent');
    expect(bed.warnings()).toEqual([expect.stringMatching(/ended a workflow .*history size exceeds limit/)]);
    await bed.untilCommitted(3);
  });

  test('whose workflow has no room for a signal is asked again until a worker has read', async () => {
    const bed = await bridgeBed({ temporal });
    await bed.start();
    for (const [index, id] of ['a', 'b', 'c'].entries()) {
      await bed.produce({ id, key: 'full' });
      await bed.untilCommitted(index + 1);
    }
    await bed.produce({ id: 'd', key: 'full' }, { id: 'e', key: 'other' });
    await until(async () => expect(await bed.signalledIds('other')).toEqual([['e']]));
    await until(() => expect(vi.mocked(backOff).mock.calls.length).toBeGreaterThan(1));
    expect(await bed.committed()).toEqual([3]);

    await bed.client.workflow.getHandle(`${bed.config.links[0]!.workflowIdPrefix}full`).terminate();
    await bed.untilCommitted(5);
    expect(await bed.signalledIds('full')).toEqual([['d']]);
    expect(await bed.deadLetterCount()).toBe(0);
  });

  test('that was away for long and then has no room for a signal is asked again all the same', async () => {
    const bed = await bridgeBed({ temporal });
    vi.mocked(backOff).mockResolvedValue();
    const { client: away, proxy } = await bed.clientThroughProxy();
    proxy.cut();
    let outages = 0;
    const full = bed.client.workflow.getHandle(`${bed.config.links[0]!.workflowIdPrefix}full`);
    let refusals = 0;
    await bed.start({
      client: clientThat(bed.client.workflow, async (_key, send) => {
        const isLast = (await bed.signalledIds('full')).length === 3;
        if (isLast && outages++ < 30) return away.signalWithStart('reconcileKey', { ...ANY, workflowId: 'full' });
        return send().catch(async (error: unknown) => {
          refusals += 1;
          await full.terminate();
          throw error;
        });
      }),
    });
    for (const [index, id] of ['a', 'b', 'c', 'd'].entries()) {
      await bed.produce({ id, key: 'full' });
      await bed.untilCommitted(index + 1);
    }
    expect(outages).toBeGreaterThan(30);
    expect(refusals).toBe(1);
    expect(await bed.deadLetterCount()).toBe(0);
    expect(await bed.signalledIds('full')).toEqual([['d']]);
  });

  test('whose workflow never has room again does not hold up the other keys for ever', async () => {
    const bed = await bridgeBed({ temporal });
    vi.mocked(backOff).mockResolvedValue();
    await bed.start();
    for (const [index, id] of ['a', 'b', 'c', 'd'].entries()) {
      await bed.produce({ id, key: 'stuck' });
      await bed.untilCommitted(index + 1);
    }
    const [letter] = await bed.deadLetters(1);
    expect(JSON.parse(String(letter!.value))).toMatchObject({ id: 'd' });
    expect(String(letter!.headers!['dlq.error.message'])).toMatch(/execution limit for signal events/);
    expect(Number(letter!.headers!['dlq.attempts'])).toBeGreaterThan(10);
  });
});
