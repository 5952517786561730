/** Who tells a workflow something asks at once what came of it; its history still replays. */
import { setTimeout as sleep } from 'node:timers/promises';
import { Worker } from '@temporalio/worker';
import { expect, it } from 'vitest';
import * as messages from '../../workflows/messages.js';
import { onStack, POLICY, Script, withScript, workflowBundle } from '../support/workflow-bed.js';

const server = onStack();
const [KEYS, LANES] = [40, 5];

it('a key that is skipped while its letter is on its way, and asked about, can be replayed', async () => {
  const script = new Script(server.env, { fail: 'NoPermission', permanent: true });
  const { escalate, usableAttributes } = script.activities;
  Object.assign(script.activities, {
    escalate: async (...given: Parameters<typeof escalate>) => {
      await sleep(5 + Math.random() * 40);
      await escalate(...given);
    },
    // As long as it takes to answer a query.
    usableAttributes: async (...given: Parameters<typeof usableAttributes>) => {
      await sleep(Math.random() * 6);
      return usableAttributes(...given);
    },
  });
  await withScript(script, async (start) => {
    const broken: string[] = [];
    const lane = async () => {
      for (let key = 0; key < KEYS / LANES; key++) {
        const handle = await start({ policy: POLICY });
        await handle.executeUpdate(messages.reconcileNow, { args: [{}] }).catch(() => {});
        const ask = () => handle.query(messages.status).catch(() => {});
        await Promise.all([handle.signal(messages.skip, { reason: 'asked at once' }), ask(), ask(), ask()]);
        await handle.result();
        const history = await handle.fetchHistory();
        await Worker.runReplayHistory({ workflowBundle: workflowBundle() }, history).catch((error) => {
          broken.push(String(error));
        });
      }
    };
    await Promise.all(Array.from({ length: LANES }, lane));
    expect(broken).toEqual([]);
  });
});
