/**
 * kill -9 of an application that writes: what of its writes the target lacks, and what the outbox
 * knows of them.
 */
import { fork } from 'node:child_process';
import { once } from 'node:events';
import { closeSync, mkdtempSync, openSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { type FaultProxy, startProxy } from '../../src/stack/proxy.js';
import { startLink, type TestLink } from '../engine/link.js';
import { generatedCases } from '../support/cases.js';
import { compareRedis } from '../support/compare.js';
import { eventually } from '../support/eventually.js';
import { repairByOutbox } from './repair.js';

const APPLICATION = fileURLToPath(new URL('./killed-application.js', import.meta.url));
/** Of each mode. More than this tells nothing more, however many cases other tests generate. */
const KILLS = Math.min(50, generatedCases(6));
const KEYS_OF_A_TYPE = 40;
const WRITERS = 50;

let link: TestLink;
let proxy: FaultProxy;
let directory: string;
beforeAll(async () => {
  link = await startLink();
  proxy = await startProxy({ target: { host: '127.0.0.1', port: link.target.port } });
  directory = mkdtempSync(join(tmpdir(), 'keymend-killed-'));
});
afterEach(() => link.clear());
afterAll(async () => {
  await proxy.close();
  await link.stop();
  rmSync(directory, { recursive: true, force: true });
});

interface Killed {
  /** Writes that were mirrored or recorded before. */
  readonly done: number;
  /** Keys of writes that were not. */
  readonly inFlight: ReadonlySet<string>;
}

/**
 * Starts the application, kills it at a random moment of its work, and waits until both servers
 * have what it sent.
 */
async function writeAndKill(transactional: boolean): Promise<Killed> {
  const file = join(directory, 'notes');
  const notes = openSync(file, 'w');
  proxy.restore();
  // So far away that most writes are in flight, and much longer than it takes to remove an entry
  // that is done.
  proxy.slow(20);
  const options = {
    sourcePort: link.source.port,
    targetPort: proxy.port,
    transactional,
    keys: KEYS_OF_A_TYPE,
    writers: WRITERS,
    notes: 3,
  };
  const application = fork(APPLICATION, [JSON.stringify(options)], {
    stdio: ['ignore', 'inherit', 'inherit', notes, 'ipc'],
    execArgv: [],
  });
  const exited = once(application, 'exit');
  closeSync(notes);
  try {
    await Promise.race([
      once(application, 'message'),
      exited.then(([code]) => Promise.reject(new Error(`the application ended with ${code}`))),
    ]);
    await sleep(Math.random() * 300);
  } finally {
    application.kill('SIGKILL');
    await exited;
  }
  // What the network still had is gone with it.
  proxy.cut();
  await eventually(async () => expect(await strangers()).toBe(0));
  return readNotes(readFileSync(file, 'utf8'));
}

/**
 * Connections of others than this test: the engine names its own, and each server has the one
 * client of the test.
 */
async function strangers(): Promise<number> {
  const lists = await Promise.all([link.source, link.target].map(({ client }) => client.client('LIST')));
  const connections = lists.flatMap((list) => (list as string).trim().split('\n'));
  return connections.filter((line) => !line.includes(' name=keymend ')).length - lists.length;
}

function readNotes(notes: string): Killed {
  const open = new Map<string, string[]>();
  let done = 0;
  for (const line of notes.split('\n')) {
    const [sign, id, ...keys] = line.split(' ');
    if (sign === '+') open.set(id!, keys);
    if (sign === '-' && open.delete(id!)) done += 1;
  }
  return { done, inFlight: new Set([...open.values()].flat()) };
}

describe(`an application that is killed under load, ${KILLS} times`, () => {
  it('in transactional mode leaves nothing unknown: the target becomes equal', async () => {
    let total = { done: 0, intents: 0, torn: 0 };
    for (let kill = 0; kill < KILLS; kill++) {
      const { done, inFlight } = await writeAndKill(true);
      // Others differ too: those of failed writes that were recorded.
      const torn = (await differingKeys()).filter((key) => inFlight.has(key));
      const intents = await repairByOutbox(link);
      expect(await differingKeys()).toEqual([]);
      total = { done: total.done + done, intents: total.intents + intents, torn: total.torn + torn.length };
      await link.clear();
    }
    console.log(
      `transactional mode: ${KILLS} kills, ${total.done} writes done before, ${total.intents} intents left, ` +
        `${total.torn} keys in flight differed before the repair, none after it`,
    );
    // Else there was nothing to lose.
    expect(total.torn).toBeGreaterThan(0);
  });

  it('in normal mode loses nothing but what was in flight', async () => {
    let total = { done: 0, inFlight: 0, lost: 0 };
    for (let kill = 0; kill < KILLS; kill++) {
      const { done, inFlight } = await writeAndKill(false);
      await repairByOutbox(link);
      const lost = await differingKeys();
      for (const key of lost) expect(inFlight).toContain(key);
      total = { done: total.done + done, inFlight: total.inFlight + inFlight.size, lost: total.lost + lost.length };
      await link.clear();
    }
    console.log(
      `normal mode: ${KILLS} kills, ${total.done} writes done before, ${total.inFlight} keys in flight, ` +
        `of which ${total.lost} differ and nobody knows`,
    );
    expect(total.done).toBeGreaterThan(0);
  });
}, 900_000);

async function differingKeys(): Promise<string[]> {
  const differences = await compareRedis(link.source.client, link.target.client);
  return differences.map(({ key }) => String(key)).filter((key) => !key.startsWith('keymend:'));
}
