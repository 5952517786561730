/**
 * What is learnt of a link's servers on the way and holds for a while: so that it need not be found
 * out key by key.
 */
import { type ClockReading, RedisFailure, type RedisPort } from '../redis/index.js';
import { ReconcileError, reconcileError, type Side } from './errors.js';

/** How far the target's clock is ahead of the source's; negative when it is behind. */
interface ClockOffset {
  readonly offsetMs: number;
  /** The true offset is at most this far from `offsetMs`. */
  readonly uncertaintyMs: number;
}

type Sides = Readonly<Record<Side, RedisPort>>;
type MeasuredOffset = ClockOffset | ReconcileError;

const OFFSET_HOLDS_MS = 60_000;
const MAX_OFFSETS = 1_000;
/** The quickest of so many answers tells the time best. */
const CLOCK_READINGS = 3;

/** Kept with the sides of a link as long as those are. */
export class LinkMemory {
  /** The connections on which a payload was refused, as `#connections` names them. */
  #refusedOn: string | null = null;
  /** By the names of the two servers. */
  readonly #offsets = new Map<string, { readonly measured: Promise<MeasuredOffset>; readonly atMs: number }>();

  readonly #sides: Sides;

  constructor(sides: Sides) {
    this.#sides = sides;
  }

  /**
   * The target refuses what the source dumps, because of its version: values are built by commands.
   * Holds until either side has a new connection, behind which another version may run.
   */
  get needsRecipes(): boolean {
    return this.#refusedOn === this.#connections;
  }

  payloadVersionRefused(): void {
    this.#refusedOn = this.#connections;
  }

  /**
   * Of the two servers that have the key. Measured when first asked for, then remembered for a
   * minute.
   * @returns an error where a server doesn't say its time now
   */
  async clockOffset(key: Buffer): Promise<MeasuredOffset> {
    const { source, target } = this.#sides;
    const names = await Promise.all([source.shardsOf([key]), target.shardsOf([key])]);
    // Behind the same name there may be another server after a failover, with another clock.
    const servers = `${names.join(' ')} ${this.#connections}`;
    const known = this.#offsets.get(servers);
    const isFresh = known !== undefined && performance.now() - known.atMs <= OFFSET_HOLDS_MS;
    const { measured } = isFresh ? known : this.#measure(servers, key);
    const offset = await measured;
    if (offset instanceof ReconcileError) this.#offsets.delete(servers);
    return offset;
  }

  #measure(servers: string, key: Buffer) {
    const measurement = { measured: measureOffset(this.#sides, key), atMs: performance.now() };
    if (this.#offsets.size >= MAX_OFFSETS) this.#offsets.clear();
    this.#offsets.set(servers, measurement);
    return measurement;
  }

  get #connections(): string {
    return `${this.#sides.source.connections} ${this.#sides.target.connections}`;
  }
}

async function measureOffset(sides: Sides, key: Buffer): Promise<MeasuredOffset> {
  const [source, target] = await Promise.all([bestReading(sides, 'source', key), bestReading(sides, 'target', key)]);
  if (source instanceof ReconcileError) return source;
  if (target instanceof ReconcileError) return target;
  return {
    offsetMs: target.serverTimeMs - target.atMs - (source.serverTimeMs - source.atMs),
    uncertaintyMs: source.uncertaintyMs + target.uncertaintyMs,
  };
}

async function bestReading(sides: Sides, side: Side, key: Buffer): Promise<ClockReading | ReconcileError> {
  const readings: ClockReading[] = [];
  while (readings.length < CLOCK_READINGS) {
    const reading = await sides[side].clock(key);
    if (reading instanceof RedisFailure) return reconcileError(reading, side, 'compare', sides[side].place);
    readings.push(reading);
  }
  return readings.reduce((best, reading) => (reading.uncertaintyMs < best.uncertaintyMs ? reading : best));
}
