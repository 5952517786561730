/** A release of the workers follows upon another one, while keys are escalated. */
import { cpSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { status } from '../../../workflows/messages.js';
import { IS_FULL } from '../../support/cases.js';
import { eventually } from '../../support/eventually.js';
import { createSandbox, type Running, recordOf, type Sandbox, spawnKeymend } from '../../support/keymend.js';

const ROOT = fileURLToPath(new URL('../../../', import.meta.url));
/** In `npm run test:full` a hundred. */
const KEYS = IS_FULL ? 100 : 20;

let sandbox: Sandbox;
let next: string;
beforeAll(async () => {
  sandbox = await createSandbox();
  next = nextRelease();
});
afterAll(async () => {
  await sandbox?.close();
  if (next !== undefined) rmSync(next, { recursive: true, force: true });
});

/** An answer that tells it from this release, and a timer that this one does not know. */
const CHANGES = [
  ['import { allHandlersFinished,', 'import { patched, sleep, allHandlersFinished,'],
  ['    return run.result();', "    if (patched('next-release')) await sleep(1);\n    return run.result();"],
  ['() => run.status(), {', "() => ({ ...run.status(), release: 'next' }), {"],
] as const;

/** @returns a folder with what was built, its workflow changed as that of a later release may be */
function nextRelease(): string {
  const folder = mkdtempSync(join(tmpdir(), 'keymend-next-'));
  cpSync(join(ROOT, 'dist'), join(folder, 'dist'), { recursive: true });
  cpSync(join(ROOT, 'package.json'), join(folder, 'package.json'));
  symlinkSync(join(ROOT, 'node_modules'), join(folder, 'node_modules'));
  const path = join(folder, 'dist/workflows/reconcile-key.js');
  let code = readFileSync(path, 'utf8');
  for (const [from, to] of CHANGES) {
    expect(code).toContain(from);
    code = code.replace(from, to);
  }
  writeFileSync(path, code);
  return folder;
}

function configure(buildId: string): string {
  const deployment = { name: `keymend-${sandbox.prefix.slice(0, -1)}`, buildId };
  const path = sandbox.configure({ link: { retry: { maximumAttempts: 1 }, escalation: { retryEvery: '1h' } } });
  const text = readFileSync(path, 'utf8');
  writeFileSync(path, text.replace('temporal:\n', `temporal:\n  deployment: ${JSON.stringify(deployment)}\n`));
  return path;
}

async function makeCurrent(buildId: string): Promise<void> {
  const { client, prefix } = sandbox;
  const deploymentName = `keymend-${prefix.slice(0, -1)}`;
  await eventually(() =>
    client.workflowService.setWorkerDeploymentCurrentVersion({ namespace: 'default', deploymentName, buildId }),
  );
}

const repairsOf = (running: Running) => running.log().split('"repaired"').length - 1;

it(`${KEYS} escalated keys go on with the next release, whose workflow is another one, and a worker without work says so`, async () => {
  const { source, target, producer, topic, client, prefix } = sandbox;
  const keys = Array.from({ length: KEYS }, (_, index) => `k${index}`);
  const first = spawnKeymend(['worker', '--config', configure('one')]);
  await first.logged('gets no work: no build is the current one');
  await makeCurrent('one');
  await first.logged('build one of');
  const bridge = await sandbox.start('bridge');
  for (const key of keys) await source.client.set(key, 'v');
  await target.client.replicaof('127.0.0.1', 1);
  await producer.send({ topic, messages: keys.map((key) => recordOf(key)) });
  const statusOf = (key: string) => client.workflow.getHandle(`${prefix}${key}`).query(status);
  const expectEach = (expected: object) =>
    eventually(async () => {
      for (const key of keys) expect(await statusOf(key)).toMatchObject(expected);
    });
  await expectEach({ state: 'escalated' });

  const second = spawnKeymend(['worker', '--config', configure('two')], {}, join(next, 'dist/src/cli/main.js'));
  await second.logged('build two of');
  expect(second.log()).toContain('gets no work: build one is the current one');
  await makeCurrent('two');
  await second.logged('gets work');
  await target.client.replicaof('NO', 'ONE');
  for (const key of keys) await client.workflow.getHandle(`${prefix}${key}`).signal('retry', {});
  await expectEach({ state: 'done', lastOutcome: 'repaired', release: 'next' });
  expect([repairsOf(first), repairsOf(second)]).toEqual([0, KEYS]);
  expect(await first.stop()).toBe(0);

  // The bridge of the release before serves the workers of this one.
  await source.client.set('another', 'v');
  await producer.send({ topic, messages: [recordOf('another')] });
  await eventually(async () => expect(await target.client.get('another')).toBe('v'));
  expect(await second.stop()).toBe(0);
  expect(await bridge.stop()).toBe(0);
});
