/** What is learnt of a link's two servers on the way and holds for a while: so that it need not be found out key by key. */
import { type ClockReading, RedisFailure, type RedisPort } from '../redis/index.js';

/** How far the target's clock is ahead of the source's; negative when it is behind. */
export interface ClockOffset {
  readonly offsetMs: number;
  /** The true offset is at most this far from `offsetMs`. */
  readonly uncertaintyMs: number;
}

const OFFSET_HOLDS_MS = 60_000;
/** The quickest of so many answers tells the time best. */
const CLOCK_READINGS = 3;

/** Kept with the sides of a link as long as those are. */
export class LinkMemory {
  /** The connections on which a payload was refused, as `#connections` names them. */
  #refusedOn: string | null = null;
  #offset: { readonly measured: Promise<ClockOffset | null>; readonly atMs: number } | null = null;

  constructor(private readonly sides: { readonly source: RedisPort; readonly target: RedisPort }) {}

  /**
   * The target refuses what the source dumps, because of its version: values are built by commands. Holds until either side has a
   * new connection, behind which another version may run.
   */
  get needsRecipes(): boolean {
    return this.#refusedOn === this.#connections;
  }

  payloadVersionRefused(): void {
    this.#refusedOn = this.#connections;
  }

  /**
   * Measured when first asked for, then remembered for a minute.
   * @returns null where a server doesn't say its time now
   */
  async clockOffset(): Promise<ClockOffset | null> {
    if (this.#offset === null || performance.now() - this.#offset.atMs > OFFSET_HOLDS_MS) {
      this.#offset = { measured: measureOffset(this.sides), atMs: performance.now() };
    }
    const offset = await this.#offset.measured;
    if (offset === null) this.#offset = null;
    return offset;
  }

  get #connections(): string {
    return `${this.sides.source.connections} ${this.sides.target.connections}`;
  }
}

async function measureOffset(sides: { source: RedisPort; target: RedisPort }): Promise<ClockOffset | null> {
  const [source, target] = await Promise.all([bestReading(sides.source), bestReading(sides.target)]);
  if (source === null || target === null) return null;
  return {
    offsetMs: target.serverTimeMs - target.atMs - (source.serverTimeMs - source.atMs),
    uncertaintyMs: source.uncertaintyMs + target.uncertaintyMs,
  };
}

async function bestReading(port: RedisPort): Promise<ClockReading | null> {
  let best: ClockReading | null = null;
  for (let count = 0; count < CLOCK_READINGS; count++) {
    const reading = await port.clock();
    // What keeps it from answering shows in the work itself, and is reported there.
    if (reading instanceof RedisFailure) return null;
    if (best === null || reading.uncertaintyMs < best.uncertaintyMs) best = reading;
  }
  return best;
}
