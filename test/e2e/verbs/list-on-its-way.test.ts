/**
 * A positional write of a list that is on its way to the target while the list is repaired: its
 * effect is in the copy, and happens once more when it arrives, with the same reply.
 */
import { Redis } from 'ioredis';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { type FaultProxy, startProxy } from '../../../src/stack/proxy.js';
import { compareRedis } from '../../support/compare.js';
import { eventually } from '../../support/eventually.js';
import { createSandbox, recordOf, type Sandbox } from '../../support/keymend.js';

/** Longer than the test takes from the repair until the writes have arrived. */
const SETTLE = '30s';

interface Late {
  readonly key: string;
  readonly list: readonly string[];
  /** On their way together. */
  readonly writes: readonly (readonly [command: string, ...args: string[]])[];
  /** What comes of it where they happen twice. */
  readonly twice: readonly string[];
}

const LATE: readonly Late[] = [
  { key: 'equal neighbours', list: ['a', 'a', 'b', 'z'], writes: [['LPOP']], twice: ['b', 'z'] },
  { key: 'duplicates', list: ['a', 'b', 'a', 'z'], writes: [['LREM', '1', 'a']], twice: ['b', 'z'] },
  {
    key: 'by index',
    list: ['x', 'b', 'z'],
    writes: [
      ['LSET', '1', 'new'],
      ['LTRIM', '1', '-1'],
    ],
    twice: ['new'],
  },
  { key: 'at the end', list: ['a', 'z', 'z'], writes: [['RPOP']], twice: ['a'] },
];

let sandbox: Sandbox;
let proxy: FaultProxy;
let application: Redis;
beforeEach(async () => {
  sandbox = await createSandbox();
  proxy = await startProxy({ target: { host: '127.0.0.1', port: sandbox.target.port } });
  application = new Redis(proxy.port, '127.0.0.1');
  await application.ping();
});
afterEach(async () => {
  application?.disconnect();
  await proxy?.close();
  await sandbox?.close();
});

it('is found after settle, and the list is repaired once more', async () => {
  const { source, target, producer, topic, client, prefix } = sandbox;
  for (const { key, list } of LATE) for (const side of [source, target]) await side.client.rpush(key, ...list);
  proxy.swallow();
  const replies: Promise<unknown>[] = [];
  const said: unknown[] = [];
  for (const { key, writes } of LATE) {
    for (const [command, ...args] of writes) {
      replies.push(application.call(command, key, ...args));
      said.push(await source.client.call(command, key, ...args));
    }
  }
  sandbox.configure({ link: { settle: SETTLE } });
  await sandbox.start('start');
  // Of another write of the list, refused and idempotent: there is nothing to wait for.
  await producer.send({ topic, messages: LATE.map(({ key }) => recordOf(key)) });
  await eventually(async () => expect(await compareRedis(source.client, target.client)).toEqual([]));

  proxy.release();
  expect(await Promise.all(replies)).toEqual(said);
  for (const { key, twice } of LATE) expect(await target.client.lrange(key, 0, -1)).toEqual(twice);

  for (const { key } of LATE) {
    expect(await client.workflow.getHandle(prefix + key).result()).toMatchObject({ outcome: 'repaired' });
  }
  expect(await compareRedis(source.client, target.client)).toEqual([]);
});
