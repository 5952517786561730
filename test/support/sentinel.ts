/**
 * A real Redis Sentinel group for tests: master, replica and three sentinels, one process each,
 * gone when the test is.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Redis } from 'ioredis';
import { until } from './eventually.js';
import { freePort, type RedisServer, startRedis } from './redis.js';
import { replicated } from './replication.js';

export interface SentinelGroup {
  readonly name: string;
  /** Where a client starts: the addresses of the sentinels. */
  readonly sentinels: readonly { host: string; port: number }[];
  readonly master: RedisServer;
  readonly replica: RedisServer;
  /** Pauses a sentinel (SIGSTOP) until `stop`. */
  freezeSentinel(index: number): void;
  /** Waits until the replica has all that the master has. */
  replicated(): Promise<void>;
  /** Asks the sentinels for another master. Resolves when all of them tell its address. */
  failover(): Promise<void>;
  /** kill -9 of the master. Resolves when all sentinels tell the address of the other. */
  killMaster(): Promise<void>;
  /**
   * Master and replica change places as an operator does it by hand: nobody closes a connection.
   */
  swapByHand(): Promise<void>;
  stop(): Promise<void>;
}

/** In the words that follow upon "a failover": how, and what makes it. */
export const FAILOVERS: readonly [how: string, failOver: (group: SentinelGroup) => Promise<void>][] = [
  // The old master goes on for seconds and takes itself for one, until the Sentinels make it a
  // replica of the new one.
  ['in order', (group) => group.failover()],
  ['because the master was killed', (group) => group.killMaster()],
];

const SENTINELS = 3;
const QUORUM = 2;

/** @param extra further arguments of both data servers */
export async function startSentinelGroup(name: string, extra: readonly string[] = []): Promise<SentinelGroup> {
  const started: { stop(): Promise<void> }[] = [];
  const stop = async () => {
    await Promise.all(started.map((one) => one.stop()));
  };
  try {
    const first = await startRedis(extra);
    started.push(first);
    const second = await startRedis([...extra, '--replicaof', `127.0.0.1 ${first.port}`]);
    started.push(second);
    await until(async () => /master_link_status:up/.test(await second.client.info('replication')));
    const sentinels: Sentinel[] = [];
    for (let index = 0; index < SENTINELS; index++) {
      const sentinel = await startSentinel(name, first.port);
      started.push(sentinel);
      sentinels.push(sentinel);
    }
    await Promise.all(sentinels.map((sentinel) => until(() => knowsAll(sentinel, name))));
    return new Group(name, sentinels, first, second, stop);
  } catch (error) {
    await stop();
    throw error;
  }
}

class Group implements SentinelGroup {
  readonly sentinels: readonly { host: string; port: number }[];

  constructor(
    readonly name: string,
    private readonly nodes: readonly Sentinel[],
    public master: RedisServer,
    public replica: RedisServer,
    readonly stop: () => Promise<void>,
  ) {
    this.sentinels = nodes.map(({ port }) => ({ host: '127.0.0.1', port }));
  }

  freezeSentinel(index: number): void {
    this.nodes[index]!.freeze();
  }

  async replicated(): Promise<void> {
    await replicated(this.master);
  }

  async failover(): Promise<void> {
    await this.#awake[0]!.client.call('SENTINEL', 'FAILOVER', this.name);
    await this.#swapped();
  }

  async killMaster(): Promise<void> {
    const soon = ['SET', this.name, 'down-after-milliseconds', '500'] as const;
    await Promise.all(this.#awake.map(({ client }) => client.call('SENTINEL', ...soon)));
    await this.master.stop();
    await this.#swapped();
  }

  async swapByHand(): Promise<void> {
    const each = (...args: string[]) => Promise.all(this.#awake.map(({ client }) => client.call('SENTINEL', ...args)));
    await each('REMOVE', this.name);
    await this.replica.client.replicaof('NO', 'ONE');
    await this.master.client.replicaof('127.0.0.1', this.replica.port);
    await each('MONITOR', this.name, '127.0.0.1', `${this.replica.port}`, `${QUORUM}`);
    await this.#swapped();
  }

  get #awake(): readonly Sentinel[] {
    return this.nodes.filter(({ frozen }) => !frozen);
  }

  async #swapped(): Promise<void> {
    const address = async ({ client }: Sentinel) => {
      const [, port] = (await client.call('SENTINEL', 'GET-MASTER-ADDR-BY-NAME', this.name)) as string[];
      return Number(port);
    };
    const isMaster = async (sentinel: Sentinel) => (await address(sentinel)) === this.replica.port;
    await Promise.all(this.#awake.map((sentinel) => until(() => isMaster(sentinel))));
    [this.master, this.replica] = [this.replica, this.master];
  }
}

interface Sentinel {
  readonly port: number;
  readonly client: Redis;
  readonly frozen: boolean;
  freeze(): void;
  stop(): Promise<void>;
}

async function startSentinel(name: string, masterPort: number): Promise<Sentinel> {
  const port = await freePort();
  const directory = mkdtempSync(join(tmpdir(), 'keymend-sentinel-'));
  const file = join(directory, 'sentinel.conf');
  const lines = [
    `port ${port}`,
    'bind 127.0.0.1',
    `dir ${directory}`,
    `sentinel monitor ${name} 127.0.0.1 ${masterPort} ${QUORUM}`,
    // What a busy machine holds up for a moment is not down.
    `sentinel down-after-milliseconds ${name} 5000`,
    `sentinel failover-timeout ${name} 3000`,
  ];
  // A sentinel keeps what it learns in its configuration.
  writeFileSync(file, lines.join('\n'));
  const child: ChildProcess = spawn('redis-server', [file, '--sentinel'], { stdio: 'ignore' });
  const exited = new Promise<void>((resolve) => child.once('exit', () => resolve()));
  // A test run that dies must not leave servers behind.
  const killOnExit = () => child.kill('SIGKILL');
  process.once('exit', killOnExit);
  const client = new Redis(port, '127.0.0.1', {
    protocol: 2,
    enableReadyCheck: false,
    retryStrategy: () => 50,
    maxRetriesPerRequest: null,
  });
  client.on('error', () => {});
  let frozen = false;
  const sentinel: Sentinel = {
    port,
    client,
    get frozen() {
      return frozen;
    },
    freeze() {
      frozen = true;
      child.kill('SIGSTOP');
    },
    async stop() {
      process.removeListener('exit', killOnExit);
      client.disconnect();
      child.kill('SIGKILL');
      await exited;
      rmSync(directory, { recursive: true, force: true });
    },
  };
  const ended = exited.then(() => Promise.reject(new Error(`the sentinel on port ${port} ended at once`)));
  try {
    await Promise.race([client.ping(), ended]);
  } catch (error) {
    await sentinel.stop();
    throw error;
  }
  ended.catch(() => {});
  return sentinel;
}

/** The other sentinels, and the replica in a state in which it can be promoted. */
async function knowsAll({ client }: Sentinel, name: string): Promise<boolean> {
  const [master] = (await client.call('SENTINEL', 'MASTERS')) as string[][];
  const [replica] = (await client.call('SENTINEL', 'REPLICAS', name)) as string[][];
  const state = (reply: string[] | undefined, field: string) => reply?.[reply.indexOf(field) + 1];
  return (
    state(master, 'num-other-sentinels') === `${SENTINELS - 1}` &&
    state(replica, 'flags') === 'slave' &&
    state(replica, 'master-link-status') === 'ok'
  );
}
