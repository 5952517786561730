/** The search attributes of a key: written only where Temporal takes them. */
import { readFileSync } from 'node:fs';
import { expect, it } from 'vitest';
import * as messages from '../../workflows/messages.js';
import { until } from '../support/eventually.js';
import { giveUp, type Handle, onStack, POLICY, Script, withScript } from '../support/workflow-bed.js';

const server = onStack();

const PERMANENT = { fail: 'NoPermission', permanent: true } as const;
const POLICY_OF_SLOW = { ...POLICY, escalation: { retryEveryMs: 100 } };

async function shown(handle: Handle): Promise<unknown[]> {
  const { typedSearchAttributes } = await handle.describe();
  const values = new Map(typedSearchAttributes.getAll().map(({ key, value }) => [key.name, value]));
  return [values.get('KeymendState'), values.get('KeymendError')];
}

async function untilShown(handle: Handle, ...expected: unknown[]): Promise<void> {
  await until(async () => JSON.stringify(await shown(handle)) === JSON.stringify(expected));
}

it('an escalated key shows its state and the type of its error, and a healed one neither', async () => {
  const script = new Script(server.env, PERMANENT);
  await withScript(script, async (start) => {
    const handle = await start({ policy: POLICY_OF_SLOW });
    await untilShown(handle, 'escalated', 'NoPermission');
    script.attempts = [{ fail: 'Unsupported', permanent: true }];
    await untilShown(handle, 'escalated', 'Unsupported');
    script.attempts = ['repaired'];
    await handle.result();
    expect(await shown(handle)).toEqual([undefined, undefined]);
  });
});

it('a worker that can not say at first what can be written leaves no escalated key that nobody finds', async () => {
  const script = new Script(server.env, PERMANENT);
  script.unsaid = 2;
  await withScript(script, async (start) => {
    const handle = await start();
    await untilShown(handle, 'escalated', 'NoPermission');
    await giveUp(handle);
  });
});

it('what Temporal does not take is not written, and is once it does', async () => {
  const script = new Script(server.env, PERMANENT);
  script.usable = [];
  await withScript(script, async (start) => {
    const handle = await start({ policy: POLICY_OF_SLOW });
    await until(async () => (await handle.query(messages.status)).state === 'escalated');
    await until(() => script.requests.length > 2);
    expect(await shown(handle)).toEqual([undefined, undefined]);
    script.usable = ['KeymendState'];
    await untilShown(handle, 'escalated', undefined);
    await giveUp(handle);
  });
});

it('the queries of docs/operations.md find what they say, and an escalated key only while its run is open', async () => {
  const page = readFileSync(new URL('../../docs/operations.md', import.meta.url), 'utf8');
  const row = /^\| [^|]+ \| \[view\]\(\S+\?query=(\S+)\) \| `temporal workflow list --query '([^']+)'` \|$/gm;
  const rows = [...page.matchAll(row)];
  expect(rows.length).toBeGreaterThan(3);
  for (const [, link, query] of rows) {
    expect(decodeURIComponent(link!)).toBe(query);
    await server.env.client.workflow.count(query!);
  }
  const script = new Script(server.env, PERMANENT);
  await withScript(script, async (start, taskQueue) => {
    const handle = await start();
    const count = async () =>
      (await server.env.client.workflow.count(`${rows[0]![2]} AND TaskQueue = "${taskQueue}"`)).count;
    await until(async () => (await count()) === 1);
    await handle.terminate();
    await until(async () => (await count()) === 0);
  });
});
