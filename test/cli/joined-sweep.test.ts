/** A sweep that ends while somebody joins it, on a real Temporal. */
import { Client, Connection } from '@temporalio/client';
import { ulid } from 'ulid';
import { expect, onTestFinished, test } from 'vitest';
import { sweepToTheEnd } from '../../src/cli/sweeps/sweeps.js';
import { parseConfig } from '../../src/config.js';
import { SWEEP_TYPE, sweepWorkflowId } from '../../workflows/sweep-messages.js';
import { stack } from '../support/services.js';

test('what has become of it is said, also where it is over before it hears how fast it is to be', async () => {
  const { address } = stack().temporal;
  const connection = await Connection.connect({ address });
  onTestFinished(() => connection.close());
  const client = new Client({ connection });
  const taskQueue = `joined-${ulid()}`;
  const links = [{ name: taskQueue, source: { url: 'redis://a' }, target: { url: 'redis://b' } }];
  const temporal = { address, taskQueue };
  const config = parseConfig(JSON.stringify({ intake: 'redis-stream', temporal, links }), 'a test', {});
  // Nobody reads its queue: it is under way until somebody ends it.
  const memo = { options: {} };
  await client.workflow.start(SWEEP_TYPE, { workflowId: sweepWorkflowId(taskQueue), taskQueue, args: [], memo });
  const getHandle = client.workflow.getHandle.bind(client.workflow);
  client.workflow.getHandle = (...of: Parameters<typeof getHandle>) => {
    const handle = getHandle(...of);
    const describe = handle.describe.bind(handle);
    return Object.assign(handle, {
      async describe() {
        const run = await describe();
        await getHandle(handle.workflowId).terminate();
        return run;
      },
    }) as never;
  };
  const joining = sweepToTheEnd(client, config, config.links[0]!, { rate: 100 }, true);
  await expect(joining).rejects.toThrow(/terminated/i);
});
