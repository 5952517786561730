/** Where the cache of a history is, and what befalls it meanwhile. */
import { setTimeout as sleep } from 'node:timers/promises';
import { Redis } from 'ioredis';
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

/**
 * A master that dies behind Sentinels, with what its replica has not heard of for a moment.
 * @param lost told before it dies how many values the replica still has that the master has not
 */
export function dyingMaster(
  group: SentinelGroup,
  keys: readonly string[],
  { settleMs, lost }: { readonly settleMs: number; readonly lost: (values: number) => void },
): Place {
  const cachedAt = ({ client }: RedisServer) => client.mget([...keys]);
  return {
    client: (options) => new Redis({ ...options, sentinels: [...group.sentinels], name: group.name }),
    target: {
      sentinel: { name: group.name, urls: group.sentinels.map(({ host, port }) => `redis://${host}:${port}`) },
    },
    settleMs,
    keepsDeletes: false,
    async trouble() {
      await sleep(500);
      // It follows nobody from here on, and keeps what it has.
      await group.replica.client.replicaof('127.0.0.1', 1);
      await sleep(100);
      const [kept, known] = [await cachedAt(group.replica), await cachedAt(group.master)];
      lost(kept.filter((value, index) => value !== null && value !== known[index]).length);
      await group.killMaster();
    },
    cache: () => group.master.client,
  };
}
