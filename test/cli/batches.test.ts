/** What `keymend status` says of batches, of which Temporal's list alone tells. */
import { Client, Connection } from '@temporalio/client';
import { ulid } from 'ulid';
import { expect, onTestFinished, test } from 'vitest';
import { batchesReport, describeBatches } from '../../src/cli/status/batches.js';
import { parseConfig } from '../../src/config.js';
import { BATCH_TYPE } from '../../workflows/batch-messages.js';
import { eventually } from '../support/eventually.js';
import { stack } from '../support/services.js';

test('each link in a surge is named with its batches, also while no worker answers for them', async () => {
  const { address } = stack().temporal;
  const connection = await Connection.connect({ address });
  onTestFinished(() => connection.close());
  const client = new Client({ connection });
  const taskQueue = `batches-${ulid()}`;
  const links = ['east', 'north', 'calm'].map((name) => ({
    ...{ name, source: { url: 'redis://a' }, target: { url: 'redis://b' }, workflowIdPrefix: name },
  }));
  const config = parseConfig(
    JSON.stringify({ intake: 'redis-stream', temporal: { address, taskQueue }, links }),
    'a test',
    {},
  );
  // Nobody reads their queue.
  for (const link of ['east', 'north', 'east']) {
    const handle = await client.workflow.start(BATCH_TYPE, { workflowId: ulid(), taskQueue, args: [], memo: { link } });
    onTestFinished(async () => {
      await handle.terminate();
    });
  }
  await eventually(async () => {
    const report = await batchesReport(client, config);
    expect(report).toMatchObject({ running: 3, byLink: { east: 2, north: 1 }, batches: [] });
    expect(describeBatches(report)).toEqual([
      'surge: 3 batches under way (2 of link east, 1 of link north)',
      expect.stringMatching(/^what is known of batches is incomplete: .+ \(and 2 more\)$/),
    ]);
  });
});
