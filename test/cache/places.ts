/** Where the cache of a history is, and what befalls it meanwhile. */
import { setTimeout as sleep } from 'node:timers/promises';
import { Redis } from 'ioredis';
import { until } from '../support/eventually.js';
import type { RedisServer } from '../support/redis.js';
import type { SentinelGroup } from '../support/sentinel.js';

export interface Place {
  client(options: { readonly maxRetriesPerRequest: number; retryStrategy(): number }): Redis;
  /** As keymend.yaml has it. */
  readonly target: object;
  readonly settleMs: number;
  /** Whether an update that had no problem is done, or only the last look behind it. */
  readonly keepsDeletes: boolean;
  trouble(isOver: () => boolean): Promise<void>;
  /** Further writes would delete what is to be found. */
  takesWrites(): boolean;
  /** What holds the cache now. */
  cache(): Redis;
}

export function oneServer(server: RedisServer, settleMs: number): Place {
  return {
    client: (options) => new Redis(server.url, options),
    target: { url: server.url },
    settleMs,
    keepsDeletes: true,
    trouble: async () => {},
    takesWrites: () => true,
    cache: () => server.client,
  };
}

/** Again and again. */
export function hanging(server: RedisServer, settleMs: number): Place {
  return {
    ...oneServer(server, settleMs),
    async trouble(isOver) {
      while (!isOver()) {
        await sleep(500 + Math.random() * 1_000);
        server.freeze();
        await sleep(600).finally(() => server.thaw());
      }
    },
  };
}

/** So many values are old at the replica when it takes over. */
const SOME = 5;

interface Dying {
  readonly settleMs: number;
  /** Resolves when the first look at all that was written has ended. */
  readonly looked: () => Promise<void>;
}

/**
 * A master that dies behind Sentinels, with what its replica has not heard of for a moment: deletes
 * of the writers, and those of the first looks.
 */
export function dyingMaster(group: SentinelGroup, keys: readonly string[], { settleMs, looked }: Dying): Place {
  let isDying = false;
  const cachedAt = ({ client }: RedisServer) => client.mget([...keys]);
  /** How many values the replica still has that the master has not. */
  const lost = async () => {
    const [kept, known] = [await cachedAt(group.replica), await cachedAt(group.master)];
    return kept.filter((value, index) => value !== null && value !== known[index]).length;
  };
  return {
    client: (options) => new Redis({ ...options, sentinels: [...group.sentinels], name: group.name }),
    target: {
      sentinel: { name: group.name, urls: group.sentinels.map(({ host, port }) => `redis://${host}:${port}`) },
    },
    settleMs,
    keepsDeletes: false,
    async trouble(isOver) {
      await until(async () => (await cachedAt(group.replica)).filter(Boolean).length > keys.length / 2);
      // It follows nobody from here on, and keeps what it has.
      await group.replica.client.replicaof('127.0.0.1', 1);
      await until(async () => isOver() || (await lost()) >= SOME);
      if (isOver()) throw new Error('too few operations: they had ended before enough was lost');
      isDying = true;
      await looked();
      // Since now: a replica whose master has been away for five seconds and more is not promoted.
      await group.replica.client.multi().replicaof('NO', 'ONE').replicaof('127.0.0.1', 1).exec();
      await group.killMaster();
    },
    takesWrites: () => !isDying,
    cache: () => group.master.client,
  };
}
