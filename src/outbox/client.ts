/**
 * The outbox's own client of the source: one that nobody else uses, with settings under which a
 * failure shows soon.
 */
import type { Cluster, Redis } from 'ioredis';
import { isCluster } from '../redis/connection/client-kind.js';
import { failureOf, LEAVE_OLD_MASTER, outliveSentinels } from '../redis/index.js';
import { clusterStreams } from './cluster-streams.js';

interface OutboxClient {
  /** For messages; never with a password. */
  readonly place: string;
  /**
   * The streams that an outbox of this key has there, in the order of their slots.
   * @throws Error when it is a Cluster and the key has a `{`
   */
  streamsOf(key: string): readonly string[];
  /** Connects unless it is connected. @throws RedisFailure */
  ready(): Promise<void>;
  /** @throws RedisFailure */
  evaluate(script: string, key: string, args: readonly (Buffer | string)[]): Promise<unknown>;
  close(): void;
}

const COMMAND_TIMEOUT_MS = 2_000;
/** Reconnecting is up to `ready`. */
const never = () => null;
const CONNECTION = {
  protocol: 2,
  commandTimeout: COMMAND_TIMEOUT_MS,
  connectTimeout: COMMAND_TIMEOUT_MS,
  autoResendUnfulfilledCommands: false,
  maxRetriesPerRequest: 0,
  reconnectOnError: null,
} as const;

/** @param client its options are used, its connections and its `keyPrefix` are not */
export function createOutboxClient(client: Redis | Cluster): OutboxClient {
  return isCluster(client) ? clientOfCluster(client) : clientOfServer(client);
}

function clientOfServer(client: Redis): OutboxClient {
  const own = client.duplicate({
    ...CONNECTION,
    keyPrefix: '',
    lazyConnect: true,
    // Late or twice does no harm here; a queue that grows unseen would.
    enableOfflineQueue: false,
    retryStrategy: never,
    // Sentinels are asked with each attempt to connect, once each.
    sentinelRetryStrategy: never,
    sentinelCommandTimeout: COMMAND_TIMEOUT_MS,
    ...LEAVE_OLD_MASTER,
  });
  outliveSentinels(own);
  let lastError: unknown = null;
  own.on('error', (error: unknown) => {
    lastError = error;
  });
  const { sentinels, name, path, host, port } = own.options;

  async function connect(): Promise<void> {
    lastError = null;
    // What connect() itself says is only "closed"; the reason came as an event.
    await own.connect().catch((error: unknown) => {
      throw failureOf(lastError ?? error);
    });
    // ioredis goes on after a refused SELECT, in database 0, where nobody looks for an outbox.
    if (lastError !== null) {
      own.disconnect();
      throw failureOf(lastError);
    }
  }

  return {
    streamsOf: (key) => [key],
    place: sentinels ? `master ${name} of Sentinels` : (path ?? `${host}:${port}`),
    async ready() {
      if (own.status !== 'ready') await connect();
    },
    async evaluate(script, key, args) {
      try {
        return await own.eval(script, 1, key, ...args);
      } catch (error) {
        const failure = failureOf(error);
        // Nothing says that a silent connection will ever answer again. Behind a demoted master's
        // name may be another by now.
        if (failure.code === 'TIMEOUT' || failure.code === 'READONLY') own.stream?.destroy();
        throw failure;
      }
    },
    close: () => own.disconnect(),
  };
}

function clientOfCluster(client: Cluster): OutboxClient {
  const own = client.duplicate([], {
    keyPrefix: '',
    lazyConnect: true,
    // Waits for a node while it connects, which the command's timeout bounds.
    enableOfflineQueue: true,
    // A Cluster that is not whole still has masters that take records; connect() would never end
    // with it.
    enableReadyCheck: false,
    clusterRetryStrategy: never,
    slotsRefreshTimeout: COMMAND_TIMEOUT_MS,
    scaleReads: 'master',
    shardedSubscribers: false,
    // A silent connection is given up, as above.
    redisOptions: { ...CONNECTION, keyPrefix: '', socketTimeout: COMMAND_TIMEOUT_MS },
  });
  let lastError: unknown = null;
  own.on('error', (error: unknown) => {
    lastError = error;
  });
  let connecting: Promise<void> | undefined;

  async function connect(): Promise<void> {
    lastError = null;
    await own.connect().catch((error: unknown) => {
      throw failureOf((lastError as { lastNodeError?: unknown } | null)?.lastNodeError ?? lastError ?? error);
    });
  }

  return {
    streamsOf: clusterStreams,
    place: 'the Cluster',
    async ready() {
      if (own.status === 'ready') return;
      // Several streams may ask at once.
      connecting ??= connect().finally(() => {
        connecting = undefined;
      });
      await connecting;
    },
    async evaluate(script, key, args) {
      return own.eval(script, 1, key, ...args).catch((error: unknown) => {
        throw failureOf(error);
      });
    },
    close: () => own.disconnect(),
  };
}
