/** The views and commands of the documents, as a real Temporal takes them. */
import { readFileSync } from 'node:fs';
import { ulid } from 'ulid';
import { beforeAll, expect, it, onTestFinished } from 'vitest';
import { until } from '../../support/eventually.js';
import { createSandbox } from '../../support/keymend.js';
import { startEscalated, startStubWorker } from '../../support/stub-worker.js';

let operations: string;
let readme: string;
beforeAll(() => {
  const read = (path: string) => readFileSync(new URL(`../../../${path}`, import.meta.url), 'utf8');
  [operations, readme] = [read('docs/operations.md'), read('README.md')];
});

/** Of the Web UI, by what they ask for. */
const viewsIn = (text: string) =>
  [...text.matchAll(/\/namespaces\/default\/workflows\?query=([^)\s]+)/g)].map(([, query]) =>
    decodeURIComponent(query!),
  );
const commandsIn = (text: string) =>
  [...text.matchAll(/temporal workflow (\w+) --query '([^']+)'(?: --name (\w+)(?: --input '([^']+)')?)?/g)].map(
    ([, verb, query, name, input]) => ({ verb: verb!, query: query!, name, input }),
  );

it('each view and each command asks for what Temporal understands, and both for the same', async () => {
  const sandbox = await createSandbox();
  onTestFinished(() => sandbox.close());
  const commands = commandsIn(operations);
  const listed = commands.filter(({ verb }) => verb === 'list').map(({ query }) => query);
  expect(viewsIn(operations)).toEqual(listed);
  expect(listed.length).toBeGreaterThan(5);
  const queries = new Set([...viewsIn(readme), ...commands.map(({ query }) => query)]);
  for (const query of queries) {
    const { count } = await sandbox.client.workflow.count(query);
    expect(count, query).toBeGreaterThanOrEqual(0);
  }
});

it('a signal to all that a query finds reaches each escalated key, and no other', async () => {
  const sandbox = await createSandbox();
  onTestFinished(() => sandbox.close());
  const { client, prefix } = sandbox;
  const [link, taskQueue] = [`link-${prefix.slice(0, -1)}`, `keymend-${prefix.slice(0, -1)}`];
  const worker = startStubWorker(client, taskQueue, () => true);
  onTestFinished(() => worker.stop());
  const keys = ['a', 'b', 'c'].map((key) => ({
    workflowId: prefix + key,
    error: key === 'c' ? 'Contended' : 'TargetReadOnly',
  }));
  await startEscalated(client, { link, taskQueue }, keys);
  await until(() => worker.begun() === keys.length);
  await until(async () => (await client.workflow.count(`KeymendLink = "${link}"`)).count === keys.length);

  const retry = commandsIn(operations).find(({ verb, name }) => verb === 'signal' && name === 'retry')!;
  const { workflowService } = client.connection;
  const [namespace, jobId] = ['default', ulid()];
  await workflowService.startBatchOperation({
    namespace,
    jobId,
    reason: 'a test',
    visibilityQuery: retry.query.replace('east-to-west', link),
    signalOperation: { signal: retry.name!, identity: 'ann' },
  });
  const done = async () => (await workflowService.describeBatchOperation({ namespace, jobId })).completeOperationCount;
  await until(async () => Number(await done()) === 2);
  await until(() => worker.told.length >= 2);
  expect([...worker.told].sort()).toEqual([`${prefix}a`, `${prefix}b`]);
});
