/** A target that is a Cluster: a mirrored write takes the connection to the master of its slot. */
import type { Cluster, Redis } from 'ioredis';
import { failureOf, isReplyError, slotOf } from '../../redis/index.js';
import { type Done, NOT_SENT, notSent } from './flight.js';
import type { MirroredWrite } from './mirror-answers.js';
import type { MirrorFailure } from './mirror-failure.js';
import { Shard, type ShardStats } from './shard.js';
import type { Target, TargetOptions } from './target.js';

/** @param cluster one with `mirrorClusterOptions`, that nobody else uses */
export function createClusterTarget(cluster: Cluster, options: TargetOptions): Target {
  return new ClusterTarget(cluster, options);
}

/** What a Cluster sets otherwise for its nodes. */
export const OWN_CONNECTION = {
  enableOfflineQueue: false,
  lazyConnect: false,
  readOnly: false,
  retryStrategy: (times: number) => Math.min(times * 50, 2000),
};

interface Master {
  readonly shard: Shard;
  readonly client: Redis;
}

const MIN_REFRESH_MS = 250;
const SHOWS_OLD_TOPOLOGY = new Set(['MOVED', 'CLUSTERDOWN', 'READONLY', 'NOT_CONNECTED', 'CONNECTION_LOST', 'TIMEOUT']);

/**
 * Redirects are not followed: a write that meets a moved slot is recorded, and the topology read
 * anew. Followed, it could be overtaken on its way by a later write of the same key.
 */
class ClusterTarget implements Target {
  readonly #cluster: Cluster;
  readonly #options: TargetOptions;
  /** By `host:port`. */
  readonly #masters = new Map<string, Master>();
  #refreshedAt = Number.NEGATIVE_INFINITY;
  /** What a node answered when it was asked last which masters there are, if that was an error. */
  #refusal: string | undefined;
  /** What meets each write since an attempt to find the masters has failed, until one succeeds. */
  #unknown: MirrorFailure | undefined;

  constructor(cluster: Cluster, options: TargetOptions) {
    this.#cluster = cluster;
    this.#options = options;
    cluster.on('error', (error: Error & { readonly lastNodeError?: unknown }) => {
      const { lastNodeError } = error;
      this.#refusal = isReplyError(lastNodeError) ? failureOf(lastNodeError).message : undefined;
    });
    cluster.on('close', this.#missed);
    cluster.on('refresh', this.#adoptTopology);
    if (cluster.status === 'wait') cluster.connect().catch(() => {});
    this.#adoptTopology();
  }

  send(unit: readonly MirroredWrite[], begin: (part: readonly MirroredWrite[]) => Done): void {
    for (const [slot, part] of bySlot(unit)) this.#sendPart(slot, part, begin(part));
  }

  stats(): ShardStats[] {
    if (this.#unknown) return [NO_MASTER_KNOWN];
    return [...this.#masters.values()].map(({ shard }) => shard.stats).sort((a, b) => (a.shard < b.shard ? -1 : 1));
  }

  abandon(): void {
    for (const { shard } of this.#masters.values()) shard.abandon();
  }

  close(): void {
    this.#cluster.off('close', this.#missed);
    this.#cluster.off('refresh', this.#adoptTopology);
    this.#unknown = undefined;
    for (const [name, master] of this.#masters) this.#retire(name, master);
  }

  #sendPart(slot: number, part: readonly MirroredWrite[], done: Done): void {
    const master = this.#masters.get(this.#cluster.slots[slot]?.[0] ?? '');
    if (!master) {
      if (slot !== CROSS_SLOT) this.#refresh();
      done(slot === CROSS_SLOT ? KEYS_APART : (this.#unknown ?? NOT_SENT));
      return;
    }
    master.shard.send(part, (failure) => {
      if (failure && SHOWS_OLD_TOPOLOGY.has(failure.error.code)) this.#refresh();
      done(failure);
    });
  }

  /**
   * ioredis asks one node after the other and opens a connection for each: not for each of a
   * thousand failures.
   */
  #refresh(): void {
    if (performance.now() - this.#refreshedAt < MIN_REFRESH_MS) return;
    this.#refreshedAt = performance.now();
    this.#cluster.refreshSlotsCache();
  }

  /**
   * An attempt to connect has failed. Where a master is known its breaker tells; nobody else would
   * tell of a Cluster that was never reached: a wrong password, or nothing at its address.
   */
  readonly #missed = (): void => {
    if (this.#masters.size > 0) return;
    const isNew = this.#unknown === undefined;
    this.#unknown = notSent(this.#refusal);
    const { shard } = NO_MASTER_KNOWN;
    if (isNew) this.#options.onBreaker({ shard, state: 'open', reason: this.#unknown.error.message });
  };

  /** Connections to all present masters, before the first write needs them. */
  readonly #adoptTopology = (): void => {
    const present = new Set(this.#cluster.slots.map((nodes) => nodes?.[0]).filter((name) => name !== undefined));
    for (const [name, master] of this.#masters) {
      if (present.has(name)) continue;
      this.#retire(name, master);
      // Whoever was told that it is open hears that nothing waits for it any more.
      if (master.shard.stats.breaker === 'open') this.#options.onBreaker({ shard: name, state: 'closed' });
    }
    for (const name of present) if (!this.#masters.has(name)) this.#connectTo(name);
    if (this.#unknown === undefined || this.#masters.size === 0) return;
    this.#unknown = undefined;
    this.#options.onBreaker({ shard: NO_MASTER_KNOWN.shard, state: 'closed' });
  };

  #connectTo(name: string): void {
    const node = this.#cluster.nodes('master').find(({ options: { host, port } }) => `${host}:${port}` === name);
    if (!node) return;
    const client = node.duplicate(OWN_CONNECTION);
    const shard = new Shard({ name, client, isOfCluster: true, onProbe: () => this.#refresh(), ...this.#options });
    this.#masters.set(name, { client, shard });
  }

  #retire(name: string, { shard, client }: Master): void {
    this.#masters.delete(name);
    shard.stop();
    // What it has not answered may be lost with it.
    shard.abandon(NO_MASTER);
    client.disconnect();
  }
}

/** In the place of its masters. */
const NO_MASTER_KNOWN: ShardStats = {
  shard: 'the Cluster',
  connected: false,
  breaker: 'open',
  inFlight: 0,
  queued: 0,
  unmarked: 0,
};

const NO_MASTER = notSent('the Cluster has another master by now');

const CROSS_SLOT = -1;
/**
 * `refused`: an older write of a key that is still under way gets a record of its own when it
 * lands.
 */
const KEYS_APART: MirrorFailure = {
  outcome: 'refused',
  error: { code: 'CROSSSLOT', message: 'its keys lie in different slots of the target' },
};

/**
 * A transaction of the source can reach over slots if that is no Cluster; in the target each slot's
 * part stays one.
 */
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
