/** Bridge and worker for minutes under steady failed writes, with faults all along. */
import { readdirSync, readFileSync, readlinkSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { Kafka, logLevel, Partitioners } from 'kafkajs';
import { expect, onTestFinished, test } from 'vitest';
import { SOAK_MINUTES } from '../support/cases.js';
import { eventually } from '../support/eventually.js';
import { createSandbox, type Running, recordOf } from '../support/keymend.js';
import { startOwnKafka } from '../support/own-kafka.js';
import { startRedis } from '../support/redis.js';
import { createTopics } from '../support/topics.js';

const KEYS = 300;
/** In a round so many of them, and one that is in all rounds. */
const KEYS_OF_A_ROUND = 10;
const ROUND_MS = 250;
/** Behind a fault, ahead of the look at what is held. */
const CALM_MS = 10_000;
const HOT = 'hot';
/** A server that is away. */
const AWAY_MS = 3_000;

/** Of a process: what it holds now. */
interface Held {
  readonly rss: number;
  readonly handles: number;
  readonly sockets: number;
}

function heldBy({ process: { pid } }: Running): Held {
  const [, kilobytes] = /^VmRSS:\s+(\d+)/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8')) ?? [];
  const links = readdirSync(`/proc/${pid}/fd`).flatMap((fd) => {
    try {
      return [readlinkSync(`/proc/${pid}/fd/${fd}`)];
    } catch {
      // Closed meanwhile.
      return [];
    }
  });
  const sockets = links.filter((link) => link.startsWith('socket:')).length;
  return { rss: Number(kilobytes) * 1024, handles: links.length, sockets };
}

test(`${SOAK_MINUTES} minutes of failed writes and faults: nothing grows, and all converges`, {
  timeout: (SOAK_MINUTES + 15) * 60_000,
}, async () => {
  const kafka = await startOwnKafka();
  const sandbox = await createSandbox();
  onTestFinished(() => sandbox.close());
  const { source, client, prefix, topic, deadLetterTopic } = sandbox;
  let { target } = sandbox;
  onTestFinished(() => target.stop());
  sandbox.configure({ kafka: { brokers: kafka.brokers }, link: { settle: '100ms' } });
  const own = new Kafka({ brokers: kafka.brokers, logLevel: logLevel.NOTHING });
  const admin = own.admin();
  await admin.connect();
  await createTopics(admin, { topic, numPartitions: 4 }, { topic: deadLetterTopic });
  await admin.disconnect();
  const producer = own.producer({ createPartitioner: Partitioners.DefaultPartitioner });
  await producer.connect();
  onTestFinished(() => producer.disconnect());
  const bridge = await sandbox.start('bridge');
  let worker = await sandbox.start('worker');

  let [round, isWriting] = [0, true];
  /** Newer each time: on the source at once, and for the target a record alone. */
  const write = async (keys: readonly string[]) => {
    round += 1;
    for (const key of keys) await source.client.set(key, `value ${round}`);
    // A record is told of until it is taken, whatever becomes of Kafka.
    await eventually(() => producer.send({ topic, messages: keys.map((key) => recordOf(key)) }));
  };
  const keysFrom = (first: number, count: number) =>
    Array.from({ length: count }, (_, at) => `key:${(first + at) % KEYS}`);
  const writing = (async () => {
    while (isWriting) {
      await write([HOT, ...keysFrom(KEYS_OF_A_ROUND * round, KEYS_OF_A_ROUND)]);
      await sleep(ROUND_MS);
    }
  })();

  const killWorker = async () => {
    await worker.stop('SIGKILL');
    worker = await sandbox.start('worker');
  };
  const faults = [
    async () => {
      target.freeze();
      await sleep(AWAY_MS);
      target.thaw();
    },
    // Empty, at the same address.
    async () => {
      const { port } = target;
      await target.stop();
      await sleep(AWAY_MS);
      target = await startRedis([], { port });
    },
    async () => {
      await kafka.stop();
      await kafka.start();
    },
    async () => void (await target.client.call('CLIENT', 'KILL', 'TYPE', 'normal', 'SKIPME', 'yes')),
  ];
  const running = `TaskQueue = "keymend-${prefix.slice(0, -1)}" AND ExecutionStatus = "Running"`;
  const openWorkflows = async () => (await client.workflow.count(running)).count;
  // What the list says of a run that is open has no length.
  const longestHistory = async () => {
    const ids = [`${prefix}${HOT}`];
    for await (const { workflowId } of client.workflow.list({ query: running })) if (ids.push(workflowId) > 20) break;
    const lengths = ids.map(async (id) => (await client.workflow.getHandle(id).describe()).historyLength);
    return Math.max(...(await Promise.all(lengths)));
  };

  // What is measured is one process: it is killed before and behind that.
  await sleep(2_000);
  await killWorker();
  const samples: Record<string, number>[] = [];
  const until = Date.now() + SOAK_MINUTES * 60_000;
  for (let turn = 0; Date.now() < until; turn++) {
    await faults[turn % faults.length]!();
    await sleep(CALM_MS);
    const [ofBridge, ofWorker] = [heldBy(bridge), heldBy(worker)];
    samples.push({
      bridgeRss: ofBridge.rss,
      bridgeHandles: ofBridge.handles,
      bridgeSockets: ofBridge.sockets,
      workerRss: ofWorker.rss,
      workerHandles: ofWorker.handles,
      workerSockets: ofWorker.sockets,
      openWorkflows: await openWorkflows(),
      longestHistory: await longestHistory(),
    });
  }
  await killWorker();
  isWriting = false;
  await writing;
  // Also of what the restarted target has lost.
  await write([HOT, ...keysFrom(0, KEYS)]);
  const keys = [HOT, ...keysFrom(0, KEYS)];
  await eventually(async () => expect(await target.client.mget(keys)).toEqual(await source.client.mget(keys)));
  await eventually(async () => expect(await openWorkflows()).toBe(0));

  process.stderr.write(`soak: ${JSON.stringify(samples)}\n`);
  // The first ones are of processes that are still warming up.
  const steady = samples.slice(Math.floor(samples.length / 6));
  const half = Math.floor(steady.length / 2);
  const MB = 1024 * 1024;
  const room: Record<string, number> = {
    bridgeRss: 40 * MB,
    bridgeHandles: 5,
    bridgeSockets: 5,
    workerRss: 60 * MB,
    workerHandles: 5,
    workerSockets: 5,
    longestHistory: 200,
  };
  // One for each key at most, and those of outages: how many depends on the last fault.
  expect(Math.max(...samples.map((each) => each.openWorkflows!))).toBeLessThanOrEqual(KEYS + 10);
  for (const [name, more] of Object.entries(room)) {
    // Garbage and the work of a moment come and go; what has leaked stays.
    const [before, behind] = [steady.slice(0, half), steady.slice(half)].map((of) =>
      Math.min(...of.map((each) => each[name]!)),
    );
    expect(behind, `${name}, then and later`).toBeLessThanOrEqual(before! + more);
  }
});
