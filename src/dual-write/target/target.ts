/** Which connection a mirrored write takes: the one to the target, or in a Cluster the one to the master of its slot. */
import type { Cluster, Redis } from 'ioredis';
import { isCluster } from '../../redis/client-kind.js';
import { slotOf } from '../../redis/index.js';
import { type Done, NOT_SENT } from './flight.js';
import type { MirroredWrite } from './mirror-answers.js';
import type { MirrorFailure } from './mirror-failure.js';
import { Shard, type ShardOptions, type ShardStats } from './shard.js';

export type TargetOptions = Pick<ShardOptions, 'bounds' | 'breaker' | 'onBreaker' | 'isSource'>;

export interface Target {
  /**
   * Sends what the source did as one unit, each part that can stay one by itself: in a Cluster those of each slot.
   * @param begin called for each part before it is sent; what it returns, when it is known what became of the part
   */
  send(unit: readonly MirroredWrite[], begin: (part: readonly MirroredWrite[]) => Done): void;
  /** In a stable order. */
  stats(): ShardStats[];
  /** Gives up everything that is on its way. */
  abandon(): void;
  /** Ends what the target does by itself. Closes connections that it opened, but not the client that it was given. */
  close(): void;
}

/** @param client one with `mirrorOptions` or `mirrorClusterOptions`, that nobody else uses */
export function createTarget(client: Redis | Cluster, options: TargetOptions): Target {
  return isCluster(client) ? clusterTarget(client, options) : standaloneTarget(client, options);
}

function standaloneTarget(client: Redis, options: TargetOptions): Target {
  const { sentinels, name: group, path } = client.options;
  const shard = new Shard({ name: (sentinels ? group : path) ?? nameOf(client), client, ...options });
  return {
    send: (unit, begin) => shard.send(unit, begin(unit)),
    stats: () => [shard.stats],
    abandon: () => shard.abandon(),
    close: () => shard.stop(),
  };
}

/**
 * Redirects are not followed: a write that meets a moved slot is recorded, and the topology read anew. Followed, it could
 * be overtaken on its way by a later write of the same key.
 */
function clusterTarget(cluster: Cluster, options: TargetOptions): Target {
  const masters = new Map<string, { shard: Shard; client: Redis }>();
  let lastRefresh = Number.NEGATIVE_INFINITY;

  // ioredis asks one node after the other and opens a connection for each: not for each of a thousand failures.
  function refresh(): void {
    if (performance.now() - lastRefresh < MIN_REFRESH_MS) return;
    lastRefresh = performance.now();
    cluster.refreshSlotsCache();
  }

  /** Connections to all present masters, before the first write needs them. */
  function adoptTopology(): void {
    const present = new Set(cluster.slots.map((nodes) => nodes?.[0]).filter((name) => name !== undefined));
    for (const [name, { shard, client }] of masters) {
      if (present.has(name)) continue;
      retire(name, shard, client);
      // Whoever was told that it is open hears that nothing waits for it any more.
      if (shard.stats.breaker === 'open') options.onBreaker({ shard: name, state: 'closed' });
    }
    for (const name of present) {
      const node = masters.has(name) ? undefined : cluster.nodes('master').find((found) => nameOf(found) === name);
      if (!node) continue;
      const client = node.duplicate(OWN_CONNECTION);
      masters.set(name, { client, shard: new Shard({ name, client, onProbe: refresh, ...options }) });
    }
  }

  function retire(name: string, shard: Shard, client: Redis): void {
    masters.delete(name);
    shard.stop();
    // What it has not answered may be lost with it.
    shard.abandon();
    client.disconnect();
  }

  function sendPart(slot: number, part: readonly MirroredWrite[], done: Done): void {
    const master = masters.get(cluster.slots[slot]?.[0] ?? '');
    if (!master) {
      if (slot !== CROSS_SLOT) refresh();
      done(slot === CROSS_SLOT ? KEYS_APART : NOT_SENT);
      return;
    }
    master.shard.send(part, (failure) => {
      if (failure && SHOWS_OLD_TOPOLOGY.has(failure.error.code)) refresh();
      done(failure);
    });
  }

  cluster.on('error', () => {});
  cluster.on('refresh', adoptTopology);
  if (cluster.status === 'wait') cluster.connect().catch(() => {});
  adoptTopology();
  return {
    send(unit, begin) {
      for (const [slot, part] of bySlot(unit)) sendPart(slot, part, begin(part));
    },
    stats: () => [...masters.values()].map(({ shard }) => shard.stats).sort((a, b) => (a.shard < b.shard ? -1 : 1)),
    abandon() {
      for (const { shard } of masters.values()) shard.abandon();
    },
    close() {
      cluster.off('refresh', adoptTopology);
      for (const [name, { shard, client }] of masters) retire(name, shard, client);
    },
  };
}

const MIN_REFRESH_MS = 250;
const SHOWS_OLD_TOPOLOGY = new Set(['MOVED', 'CLUSTERDOWN', 'READONLY', 'NOT_CONNECTED', 'CONNECTION_LOST', 'TIMEOUT']);

/** What a Cluster sets otherwise for its nodes. */
const OWN_CONNECTION = {
  enableOfflineQueue: false,
  lazyConnect: false,
  readOnly: false,
  retryStrategy: (times: number) => Math.min(times * 50, 2000),
};

const CROSS_SLOT = -1;
/** `refused`: an older write of a key that is still under way gets a record of its own when it lands. */
const KEYS_APART: MirrorFailure = {
  outcome: 'refused',
  error: { code: 'CROSSSLOT', message: 'its keys lie in different slots of the target' },
};

function nameOf({ options: { host, port } }: Redis): string {
  return `${host}:${port}`;
}

/** A transaction of the source can reach over slots if that is no Cluster; in the target each slot's part stays one. */
function bySlot(unit: readonly MirroredWrite[]): Map<number, MirroredWrite[]> {
  const parts = new Map<number, MirroredWrite[]>();
  for (const mirrored of unit) {
    const slot = slotOfKeys(mirrored.write.keys);
    const part = parts.get(slot);
    if (part) part.push(mirrored);
    else parts.set(slot, [mirrored]);
  }
  return parts;
}

function slotOfKeys([first, ...others]: readonly Buffer[]): number {
  const slot = slotOf(first!);
  return others.every((key) => slotOf(key) === slot) ? slot : CROSS_SLOT;
}
