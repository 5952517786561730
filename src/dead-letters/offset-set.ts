/** Which offsets of a partition are meant, with a bit for each where they lie close together. */

const BITS = 1 << 15;

export class OffsetSet {
  readonly #chunks = new Map<bigint, Uint8Array>();

  has(offset: bigint): boolean {
    const bit = Number(offset % BigInt(BITS));
    return ((this.#chunks.get(offset / BigInt(BITS))?.[bit >> 3] ?? 0) & (1 << (bit & 7))) !== 0;
  }

  /** @returns whether it was not there yet */
  add(offset: bigint): boolean {
    if (this.has(offset)) return false;
    const name = offset / BigInt(BITS);
    const bit = Number(offset % BigInt(BITS));
    let chunk = this.#chunks.get(name);
    if (chunk === undefined) {
      chunk = new Uint8Array(BITS / 8);
      this.#chunks.set(name, chunk);
    }
    chunk[bit >> 3]! |= 1 << (bit & 7);
    return true;
  }
}

/** As text: `3,7-12`. */
export function writeRanges(offsets: readonly bigint[]): string {
  const sorted = [...offsets].sort((one, other) => (one < other ? -1 : Number(one > other)));
  const ranges: [bigint, bigint][] = [];
  for (const offset of sorted) {
    const last = ranges.at(-1);
    if (last !== undefined && offset <= last[1] + 1n) last[1] = offset;
    else ranges.push([offset, offset]);
  }
  return ranges.map(([first, last]) => (first === last ? `${first}` : `${first}-${last}`)).join(',');
}

/** A range of more than this was not written by us. */
const LONGEST_RANGE = 100_000n;

/** @returns nothing of what is not of that form: it may be anybody's */
export function* readRanges(text: string): Generator<bigint> {
  for (const range of text.split(',')) {
    const [, first, last = first] = /^(\d{1,19})(?:-(\d{1,19}))?$/.exec(range) ?? [];
    if (first === undefined || BigInt(last!) - BigInt(first) > LONGEST_RANGE) continue;
    for (let offset = BigInt(first); offset <= BigInt(last!); offset++) yield offset;
  }
}
