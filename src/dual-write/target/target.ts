/** Where mirrored writes go, whatever the topology. */
import type { Done } from './flight.js';
import type { MirroredWrite } from './mirror-answers.js';
import type { ShardOptions, ShardStats } from './shard.js';

export type TargetOptions = Pick<ShardOptions, 'bounds' | 'breaker' | 'onBreaker' | 'isSource' | 'writer' | 'onMarks'>;

export interface Target {
  /**
   * Sends what the source did as one unit. In a Cluster each slot's part of it is sent as a unit of
   * its own.
   * @param begin called for each part before it is sent; what it returns is called when it is known
   *   what became of the part
   */
  send(unit: readonly MirroredWrite[], begin: (part: readonly MirroredWrite[]) => Done): void;
  /** In a stable order. */
  stats(): ShardStats[];
  /** Gives up everything that is on its way. */
  abandon(): void;
  /**
   * Ends what the target does by itself. Closes connections that it opened, but not the client that
   * it was given.
   */
  close(): void;
}
