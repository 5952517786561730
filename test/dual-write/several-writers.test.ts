/**
 * Several instances of a service in processes of their own, all kinds of writes to the same few
 * keys, one of them with a slow way to the target: what differs afterwards, the records name.
 */
import { type ChildProcess, fork } from 'node:child_process';
import { once } from 'node:events';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { afterAll, afterEach, beforeAll, expect, it } from 'vitest';
import { type FaultProxy, startProxy } from '../../src/stack/proxy.js';
import { startLink, type TestLink } from '../engine/link.js';
import { compareRedis } from '../support/compare.js';
import { repairByOutbox } from './repair.js';

const APPLICATION = fileURLToPath(new URL('./crossing-application.js', import.meta.url));
const KEYS_OF_A_TYPE = 40;

let link: TestLink;
let proxy: FaultProxy;
beforeAll(async () => {
  link = await startLink();
  proxy = await startProxy({ target: { host: '127.0.0.1', port: link.target.port } });
});
afterEach(() => link.clear());
afterAll(async () => {
  await proxy.close();
  await link.stop();
});

async function instance(options: { targetPort: number; transactional: boolean; callers: number }) {
  const application = fork(
    APPLICATION,
    [JSON.stringify({ sourcePort: link.source.port, keys: KEYS_OF_A_TYPE, ...options })],
    { execArgv: [] },
  );
  const exited = once(application, 'exit');
  await Promise.race([
    once(application, 'message'),
    exited.then(([code]) => Promise.reject(new Error(`the application ended with ${code}`))),
  ]);
  return { application, exited };
}

async function differing(): Promise<string[]> {
  return (await compareRedis(link.source.client, link.target.client)).map(({ key }) => String(key));
}

/** Until that many writes were carried out by the source. */
async function untilWritten(count: number): Promise<void> {
  const commands = async () =>
    Number(/total_commands_processed:(\d+)/.exec(await link.source.client.info('stats'))?.[1]);
  const enough = (await commands()) + count;
  while ((await commands()) < enough) await sleep(20);
}

const CASES = [
  { writers: 2, callers: 1, dies: false },
  { writers: 2, callers: 8, dies: false },
  { writers: 5, callers: 4, dies: false },
  { writers: 5, callers: 4, dies: true },
];

it.each(CASES)(
  '$writers writers of $callers callers each (one is killed: $dies) leave no key that differs without a record',
  async ({ writers, callers, dies }) => {
    proxy.restore();
    proxy.slow(100);
    const started: { application: ChildProcess; exited: Promise<unknown[]> }[] = [];
    try {
      for (let writer = 0; writer < writers; writer++) {
        const targetPort = writer === 0 ? proxy.port : link.target.port;
        // Only the outbox knows what is in flight of one that is killed.
        started.push(await instance({ targetPort, transactional: dies, callers }));
      }
      for (const { application } of started) application.send('go');
      await untilWritten(1_000);
      if (dies) started[0]!.application.kill('SIGKILL');
      await untilWritten(1_000);
      for (const { application } of started) if (application.connected) application.send('stop');
      const codes = (await Promise.all(started.map(({ exited }) => exited))).map(([code]) => code);
      expect(codes.filter((code) => code !== 0)).toEqual(dies ? [null] : []);
    } finally {
      for (const { application } of started) application.kill('SIGKILL');
    }
    // What the network still had of the one that was killed.
    await sleep(50);
    const before = await differing();
    await repairByOutbox(link);
    expect(await differing()).toEqual([]);
    // Else there was nothing to find.
    expect(before.length).toBeGreaterThan(0);
  },
);
