/** The pages of keys that a sweep goes through, and which keys of each have to be looked at. */
import type { EncodedKey } from '../../workflows/failed-write.js';
import type { SweepOptions, SweepPart } from '../../workflows/sweep-messages.js';
import { reconcileError } from '../engine/index.js';
import { keyBytes } from '../events/failed-write-codec.js';
import { isOwnKey } from '../own-keys.js';
import { type KeyPage, RedisFailure } from '../redis/index.js';
import { absentOnSource, differingOfPage, type Sides } from './page.js';
import { sideOf } from './parts.js';

/**
 * Gently: so few that a server is not held for longer than by commands of its own. It costs hardly
 * any speed, as it is the share of time that bounds it. Where it only scans, more are as quick.
 */
const [GENTLE_PER_PAGE, GENTLE_PER_SCAN] = [10, 50];
/**
 * At most as many as a server goes through in about 3 ms, and so few that twenty kills read less
 * than 2 % of a million keys again: each costs two pages, now and then one that waits for a second
 * look, and a server adds what is left of a bucket. Fewer where few a second are wanted.
 */
const [MOST_PER_PAGE, PAGES_PER_SECOND] = [400, 100];
/**
 * Where a page can be asked for only so much later than the one before, for so long is the way, it
 * may be larger in proportion: that holds a server for less than a hundredth of the time.
 */
const FAR_MS = 20;
/** Its keys together, about: a server does nothing else while it copies them. */
const KEY_BYTES_PER_PAGE = 64 * 1024;

interface PagesOptions {
  readonly options: SweepOptions;
  readonly expiryToleranceMs: number;
  /** Keys a second now; undefined: gently. */
  readonly rate: () => number | undefined;
}

interface AskedPage extends KeyPage {
  /** How many keys the server was to go through, about. */
  readonly asked: number;
  /** Keys of a cache that were left out, for no mapping takes them. */
  readonly untaken?: number;
}

/** For each key that is looked at, how many a page brings, and bytes of them. */
interface Brought {
  readonly keys: number;
  readonly bytes: number;
}

export class Pages {
  readonly #sides: Sides;
  readonly #given: PagesOptions;
  /** By server. */
  readonly #brought = new Map<string, Brought>();

  constructor(sides: Sides, options: PagesOptions) {
    this.#sides = sides;
    this.#given = options;
  }

  /**
   * @param wayMs to the server and back; 0: it is near
   * @throws ReconcileError where the server can't be asked
   */
  async page(part: SweepPart, cursor: string, wayMs = 0): Promise<AskedPage> {
    const { side, place } = part;
    const { options } = this.#given;
    if (side === 'keys') return { ...pageOfGiven(options.keys!, Number(cursor)), asked: MOST_PER_PAGE };
    const { match, type, sample } = options;
    const from = sample === undefined ? cursor : null;
    const count = this.#keysPerPage(part, wayMs);
    const scan = { cursor: from, count, match, type, digested: side === 'source' };
    const at = sideOf(side);
    const page = await this.#sides[at].scanKeys(place, scan);
    if (page instanceof RedisFailure) throw reconcileError(page, at, 'read', this.#sides[at].place);
    // A page that was drawn says nothing of those that others draw.
    if (sample === undefined || page.keys.length > 0) this.#remember(part, count, page);
    return { ...(side === 'cache' ? this.#taken(page) : page), asked: count };
  }

  /** Without the keys that no mapping takes: others put them there. */
  #taken(page: KeyPage): Omit<AskedPage, 'asked'> {
    const { takes = () => true } = this.#sides.source;
    const keys = page.keys.filter(takes);
    const untaken = page.keys.length - keys.length;
    return { ...page, keys, own: page.own + untaken, untaken };
  }

  /** With a pattern or a type not all that were passed are told: about as many as asked for. */
  lookedAt({ keys, own, asked }: AskedPage): number {
    const { match, type, sample } = this.#given.options;
    if (match !== undefined || type !== undefined) return asked;
    // A sample of what was emptied meanwhile has an end, too.
    return Math.max(keys.length + own, sample === undefined ? 0 : 1);
  }

  /** With a pattern most pages have none; where many had long ones, more of these may come. */
  #remember(part: SweepPart, asked: number, { keys }: KeyPage): void {
    const looked = Math.max(asked, keys.length);
    const bytes = keys.reduce((sum, { length }) => sum + length, 0);
    const before = this.#brought.get(serverOf(part)) ?? { keys: 0, bytes: 0 };
    this.#brought.set(serverOf(part), {
      keys: Math.max(keys.length / looked, before.keys / 2),
      bytes: Math.max(bytes / looked, before.bytes / 2),
    });
  }

  #keysPerPage(part: SweepPart, wayMs: number): number {
    const brought = this.#brought.get(serverOf(part));
    // Of a server whose keys nobody has seen yet.
    if (brought === undefined) return GENTLE_PER_PAGE;
    const rate = this.#given.rate();
    const gentle = (part.side === 'source' ? GENTLE_PER_PAGE : GENTLE_PER_SCAN) * Math.max(1, wayMs / FAR_MS);
    const everyMs = Math.max(1_000 / PAGES_PER_SECOND, wayMs);
    const wanted = rate === undefined ? gentle / brought.keys : (rate * everyMs) / 1_000;
    const most = Math.min(MOST_PER_PAGE, Math.floor(KEY_BYTES_PER_PAGE / brought.bytes));
    return Math.max(1, Math.min(Math.max(GENTLE_PER_PAGE, Math.ceil(wanted)), most));
  }

  /** @param passed of the part, with those of this page */
  isLast(part: SweepPart, page: KeyPage, passed: number): boolean {
    const { sample } = this.#given.options;
    if (sample === undefined) return page.cursor === '0';
    return passed >= sample * part.keys;
  }

  /**
   * Keys that are to be looked at one by one.
   * @throws ReconcileError where a side can't be asked
   */
  async suspicious(side: SweepPart['side'], { keys, digest }: KeyPage): Promise<readonly Buffer[]> {
    const { options, expiryToleranceMs } = this.#given;
    // A row has no digest: each cached value is compared with its own.
    if (side === 'keys' || side === 'cache' || keys.length === 0) return keys;
    // A key of another type on the source was not met there. What else differs was found there.
    if (side === 'target') return absentOnSource(this.#sides, keys, options.type);
    return differingOfPage(this.#sides, keys, digest, expiryToleranceMs);
  }
}

function serverOf({ side, place }: SweepPart): string {
  return `${side} ${place}`;
}

function pageOfGiven(given: readonly EncodedKey[], first: number): KeyPage {
  const keys = given.slice(first, first + MOST_PER_PAGE).map(keyBytes);
  const next = first + MOST_PER_PAGE;
  const wanted = keys.filter((key) => !isOwnKey(key));
  const own = keys.length - wanted.length;
  return { cursor: next < given.length ? `${next}` : '0', keys: wanted, own, digest: null };
}
