/** Workers killed all along a sweep of many keys. */
import { setTimeout as sleep } from 'node:timers/promises';
import { expect, onTestFinished, test } from 'vitest';
import { reportOf, type SweepReport } from '../../src/sweep/report.js';
import type { sweep } from '../../workflows/sweep.js';
import { sweepWorkflowId } from '../../workflows/sweep-messages.js';
import { generatedCases } from '../support/cases.js';
import { eventually } from '../support/eventually.js';
import { createSandbox } from '../support/keymend.js';

/** A million from a thousand cases on. */
const KEYS = 1_000 * Math.min(1_000, generatedCases(100));
const KILLS = 20;
/** So that a kill each time that a twentieth is done loses a second or two of the work at most. */
const RATE = 1_500;

test(`${KILLS} kills during a sweep: at most 2 % is read again, and the report is the same`, async () => {
  const sandbox = await createSandbox();
  onTestFinished(() => sandbox.close());
  const link = `kills-${process.pid}`;
  sandbox.configure({ link: { name: link, settle: '50ms' } });
  const { source, target, client } = sandbox;
  for (let from = 0; from < KEYS; from += 10_000) {
    const pairs = Array.from({ length: 10_000 }, (_, index) => [`user:${from + index}`, 'value']).flat();
    await Promise.all([source.client.mset(pairs), target.client.mset(pairs)]);
  }
  await target.client.del('user:7', 'user:700007');
  await target.client.set('user:8', 'other');
  let worker = await sandbox.start('worker');
  const undisturbed: SweepReport = JSON.parse(
    (await sandbox.keymend('sweep', '--rate', '1000000', '--output', 'json')).stdout,
  );
  await source.client.config('RESETSTAT');
  // The sweep outlives the verb, which is given up after some minutes.
  void sandbox.keymend('sweep', '--rate', `${RATE}`);
  const handle = client.workflow.getHandle<typeof sweep>(sweepWorkflowId(link));
  const isRead = async () =>
    Number(/cmdstat_pexpiretime:calls=(\d+)/.exec(await source.client.info('commandstats'))?.[1] ?? 0);
  for (let kill = 1; kill <= KILLS; kill++) {
    while ((await isRead()) < (kill * KEYS) / (KILLS + 1)) await sleep(200);
    await worker.stop('SIGKILL');
    worker = await sandbox.start('worker');
  }
  const { outcome, compared, differing, listed, redone } = reportOf(await handle.result());
  expect({ outcome, compared, differing, redone }).toEqual({
    outcome: undisturbed.outcome,
    compared: undisturbed.compared,
    differing: undisturbed.differing,
    redone: 0,
  });
  expect(listed.map(({ key }) => key).sort()).toEqual(['user:7', 'user:700007', 'user:8']);
  await eventually(async () => expect((await isRead()) - KEYS).toBeLessThanOrEqual(0.02 * KEYS));
}, 3_600_000);
