/** What is known to be lost: said, shown by `status` and the Web UI, closed by a person. */
import { randomUUID } from 'node:crypto';
import { expect, onTestFinished, test } from 'vitest';
import type { LinkReport } from '../../../src/cli/status/link-status.js';
import { acknowledge, gapWorkflowId } from '../../../workflows/gap-messages.js';
import { eventually } from '../../support/eventually.js';
import { createSandbox, recordOf } from '../../support/keymend.js';

test('a gap is shown until somebody acknowledges it, and again when there is another', async () => {
  const sandbox = await createSandbox();
  onTestFinished(() => sandbox.close());
  const link = `gaps-${randomUUID()}`;
  sandbox.configure({ link: { name: link } });
  const { topic, producer, kafka, client } = sandbox;
  const admin = kafka.admin();
  await admin.connect();
  onTestFinished(() => admin.disconnect());
  const write = (key: string) => producer.send({ topic, messages: [{ ...recordOf(key, { link }), partition: 0 }] });
  const isReadUpTo = (offset: string) =>
    eventually(async () => {
      const [read] = await admin.fetchOffsets({
        groupId: `bridge-${topic.slice('failed-writes-'.length)}`,
        topics: [topic],
      });
      expect(read!.partitions.find(({ partition }) => partition === 0)!.offset).toBe(offset);
    });
  const report = async () => {
    const { stdout, code } = await sandbox.keymend('status', '--output', 'json');
    expect(code).toBe(0);
    return (JSON.parse(stdout) as { links: LinkReport[] }).links[0]!.gap;
  };
  const losing = async (offset: string) => {
    await write('lost');
    await admin.deleteTopicRecords({ topic, partitions: [{ partition: 0, offset }] });
    await write('found');
  };

  const first = await sandbox.start('start');
  await write('before');
  await isReadUpTo('1');
  expect(await report()).toBeNull();
  await first.stop();

  await losing('2');
  const second = await sandbox.start('start');
  await isReadUpTo('3');
  const workflowId = gapWorkflowId(link);
  const message = `1 record of ${topic}[0] (offset 1) was removed before it was read: raise the retention of the topic, and compare both sides`;
  await eventually(async () => expect(await report()).toMatchObject({ workflowId, records: 1, problem: null }));
  expect((await report())!.gaps).toMatchObject([{ message }]);
  const { stdout } = await sandbox.keymend('status');
  expect(stdout).toContain('failed writes are lost, at most 1');
  expect(stdout).toContain(message);
  expect(second.log()).toContain(message);

  const handle = client.workflow.getHandle(workflowId);
  // An empty word closes nothing.
  await handle.signal(acknowledge, { reason: ' ' });
  expect(await report()).toMatchObject({ records: 1 });
  await handle.signal(acknowledge, { reason: 'compared by hand' });
  expect(await handle.result()).toMatchObject({ state: 'acknowledged', reason: 'compared by hand', records: 1 });
  expect(await report()).toBeNull();

  await second.stop();
  await losing('4');
  const third = await sandbox.start('start');
  await isReadUpTo('5');
  await eventually(async () =>
    expect(await report()).toMatchObject({ records: 1, gaps: [{ id: `${topic}[0] from 3 to 3` }] }),
  );
  await third.stop();
  expect((await report())!.problem).toMatch(/^is open, but nobody answers for it \(.*\); is a worker running\?$/);
  await client.workflow.getHandle(workflowId).terminate();
});
