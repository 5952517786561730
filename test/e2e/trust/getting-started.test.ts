/** What the documents say to type, typed as it stands but for the addresses. */
import { execFile } from 'node:child_process';
import { chmodSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { expect, onTestFinished, test } from 'vitest';
import { decodeFailedWrite } from '../../../src/events/failed-write-codec.js';
import { blocks } from '../../documents/generated.js';
import { scratchFolder } from '../../stack/scratch.js';
import { eventually } from '../../support/eventually.js';
import { createSandbox } from '../../support/keymend.js';
import { startRedis } from '../../support/redis.js';
import { stack } from '../../support/services.js';

const ROOT = fileURLToPath(new URL('../../../', import.meta.url));
/** Ends with the first command that fails. */
const typed = (text: string) => promisify(execFile)('bash', ['-e', '-c', text], { cwd: ROOT });

test('the block to type shows a record that brings the key of the source to the target', async () => {
  const sandbox = await createSandbox();
  onTestFinished(() => sandbox.close());
  await sandbox.start('start');
  const block = blocks('docs/getting-started.md', 'sh').find((text) => text.includes('kafkajs'))!;
  const config = sandbox.configure({});
  const text = block
    .replaceAll('-p 6379', `-p ${sandbox.source.port}`)
    .replaceAll('-p 6380', `-p ${sandbox.target.port}`)
    .replace("'127.0.0.1:9092'", JSON.stringify(stack().kafka.brokers[0]))
    .replace("'keymend.failed-writes'", JSON.stringify(sandbox.topic));
  const npx = join(scratchFolder(), 'npx');
  writeFileSync(
    npx,
    `#!/bin/sh\nshift\nexec ${process.execPath} ${ROOT}dist/src/cli/main.js "$@" --config ${config}\n`,
  );
  chmodSync(npx, 0o755);
  const withNpx = (part: string) => typed(`PATH="${join(npx, '..')}:$PATH"\n${part}`);
  // In place of its pause, for which a busy machine takes longer, the end is awaited.
  const [write, look] = text.split(/^sleep 5 .*$/m);
  const written = await withNpx(write!);
  const handle = sandbox.client.workflow.getHandle(`${sandbox.prefix}user:42`);
  await eventually(async () => expect((await handle.describe()).status.name).toBe('COMPLETED'));
  const looked = await withNpx(look!);
  const [got, ...status] = looked.stdout.split('\n');
  expect([written.stdout, got]).toEqual(['OK\n', 'new']);
  expect(status.join('\n')).toContain('repaired');
  expect(status.join('\n')).toContain('east-to-west');
});

test('the commands of docs/intakes.md put a record that can be read into an outbox, and look at it', async () => {
  const { client, port, stop } = await startRedis();
  onTestFinished(() => stop());
  const [append, look] = blocks('docs/intakes.md', 'sh');
  await typed(append!.replace('-p 6379', `-p ${port}`));
  const { stdout } = await typed(look!.replaceAll('redis-cli', `redis-cli -p ${port}`));
  expect(stdout).toMatch(/^1\n/);
  const [[, fields]] = (await client.xrange('keymend:outbox', '-', '+')) as [[string, string[]]];
  expect(decodeFailedWrite(Buffer.from(fields[fields.indexOf('value') + 1]!))).toMatchObject({ ok: true });
});
