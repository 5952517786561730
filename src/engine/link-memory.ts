/**
 * What is learnt of a link's servers on the way and holds for a while: so that it need not be found
 * out key by key.
 */
import { type ClockReading, RedisFailure, type RedisPort } from '../redis/index.js';

/** How far the target's clock is ahead of the source's; negative when it is behind. */
interface ClockOffset {
  readonly offsetMs: number;
  /** The true offset is at most this far from `offsetMs`. */
  readonly uncertaintyMs: number;
}

const OFFSET_HOLDS_MS = 60_000;
const MAX_OFFSETS = 1_000;
/** The quickest of so many answers tells the time best. */
const CLOCK_READINGS = 3;

/** Kept with the sides of a link as long as those are. */
export class LinkMemory {
  /** The connections on which a payload was refused, as `#connections` names them. */
  #refusedOn: string | null = null;
  /** By the names of the two servers. */
  readonly #offsets = new Map<string, { readonly measured: Promise<ClockOffset | null>; readonly atMs: number }>();

  readonly #sides: { readonly source: RedisPort; readonly target: RedisPort };

  constructor(sides: { readonly source: RedisPort; readonly target: RedisPort }) {
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
   * @returns null where a server doesn't say its time now
   */
  async clockOffset(key: Buffer): Promise<ClockOffset | null> {
    const { source, target } = this.#sides;
    const names = await Promise.all([source.shardsOf([key]), target.shardsOf([key])]);
    // Behind the same name there may be another server after a failover, with another clock.
    const servers = `${names.join(' ')} ${this.#connections}`;
    const known = this.#offsets.get(servers);
    const isFresh = known !== undefined && performance.now() - known.atMs <= OFFSET_HOLDS_MS;
    const { measured } = isFresh ? known : this.#measure(servers, key);
    const offset = await measured;
    if (offset === null) this.#offsets.delete(servers);
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

async function measureOffset(
  sides: { source: RedisPort; target: RedisPort },
  key: Buffer,
): Promise<ClockOffset | null> {
  const [source, target] = await Promise.all([bestReading(sides.source, key), bestReading(sides.target, key)]);
  if (source === null || target === null) return null;
  return {
    offsetMs: target.serverTimeMs - target.atMs - (source.serverTimeMs - source.atMs),
    uncertaintyMs: source.uncertaintyMs + target.uncertaintyMs,
  };
}

async function bestReading(port: RedisPort, key: Buffer): Promise<ClockReading | null> {
  let best: ClockReading | null = null;
  for (let count = 0; count < CLOCK_READINGS; count++) {
    const reading = await port.clock(key);
    // What keeps it from answering shows in the work itself, and is reported there.
    if (reading instanceof RedisFailure) return null;
    if (best === null || reading.uncertaintyMs < best.uncertaintyMs) best = reading;
  }
  return best;
}
