/** What is said of keys that were told something, from Temporal's lists alone. */
import { Client, Connection } from '@temporalio/client';
import { ulid } from 'ulid';
import { expect, onTestFinished, test } from 'vitest';
import { outcomeOf } from '../../src/cli/bulk/outcome.js';
import { ToldKeys } from '../../src/cli/bulk/told-keys.js';
import { parseConfig } from '../../src/config.js';
import { WORKFLOW_TYPE } from '../../workflows/messages.js';
import { eventually } from '../support/eventually.js';
import { stack } from '../support/services.js';

test('a key that is in no list is not said to have healed, and one that was ended is said to be so', async () => {
  const { address } = stack().temporal;
  const connection = await Connection.connect({ address });
  onTestFinished(() => connection.close());
  const client = new Client({ connection });
  const taskQueue = `outcome-${ulid()}`;
  const links = [{ name: 'a', source: { url: 'redis://a' }, target: { url: 'redis://b' } }];
  const temporal = { address, taskQueue };
  const config = parseConfig(JSON.stringify({ intake: 'redis-stream', temporal, links }), 'a test', {});
  const begunAt = new Date();
  const workflowId = ulid();
  // Nobody reads its queue: it is under way until somebody ends it.
  const started = async () => {
    const handle = await client.workflow.start(WORKFLOW_TYPE, { workflowId, taskQueue, args: [] });
    return handle;
  };
  await (await started()).terminate();
  const told = new ToldKeys(0);
  for (const id of [workflowId, 'nowhere']) told.add(id);
  const look = () =>
    outcomeOf(client, config, { told, wereEscalated: 2, begunAt, escalatedBefore: null, link: undefined }, 0, () => {});
  await eventually(async () => {
    expect(await look()).toEqual({
      healed: 0,
      failedAgain: 0,
      newlyEscalated: 0,
      underWay: 0,
      ended: 1,
      unknown: 1,
    });
  });
  // A run that goes on counts, not the one before it.
  const again = await started();
  await eventually(async () => expect(await look()).toMatchObject({ underWay: 1, ended: 0, unknown: 1 }));
  await again.terminate();
});
