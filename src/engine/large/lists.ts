/** A large list, compared range by range. */
import type { Range, RangeDigest } from '../../redis/index.js';
import { ahead } from './ahead.js';
import { ChangedMeanwhile } from './changed-meanwhile.js';
import { type Comparison, RANGES_IN_FLIGHT, type WatchedPair } from './in-order.js';

const ELEMENTS_PER_RANGE = 1_000;
/** As lua/large/ranges.lua has it. */
const ELEMENTS_PER_COMMAND = 12;
/** What a step of comparing costs besides. */
const STEP_OPERATIONS = 4;

/** Elements of the source, and where the target has the same ones. */
interface Part extends Range {
  readonly bytes: number;
  /** Index of the first on the target; null: only the source has them. */
  readonly onTarget: number | null;
}

/** A part with what has to travel for it, and how many elements come before it. */
interface Loaded {
  readonly part: Part;
  readonly elements: readonly Buffer[] | null;
}

export async function compareLists(pair: WatchedPair): Promise<Comparison> {
  const size = pair.source.state.size;
  const compare = comparer(pair);
  const parts: Part[] = [];
  for await (const found of ahead(rangesOf(size), RANGES_IN_FLIGHT, compare)) {
    for (const part of found) {
      parts.push(part);
      await pair.advance();
    }
  }
  const { type, size: sizeOnTarget } = pair.target.state;
  return {
    bytes: parts.reduce((sum, { bytes }) => sum + bytes, 0),
    equal: type === 'list' && sizeOnTarget === size && parts.every(({ start, onTarget }) => onTarget === start),
    async build(temporary) {
      const load = async (part: Part): Promise<Loaded> => {
        if (part.onTarget !== null) return { part, elements: null };
        const elements = pair.settled(await pair.source.readList(part), 'source', 'read');
        if (elements.length !== part.count) throw new ChangedMeanwhile();
        return { part, elements };
      };
      const append = async ({ part, elements }: Loaded) => {
        const { start, count } = part;
        const step =
          elements === null
            ? temporary.copyElements(start, { start: part.onTarget!, count })
            : temporary.appendElements(start, elements);
        pair.grown(await step);
      };
      const loaded = ahead(parts, RANGES_IN_FLIGHT, load);
      for await (const _ of ahead(loaded, RANGES_IN_FLIGHT, append)) await pair.advance();
    },
  };
}

function rangesOf(size: number): Range[] {
  return Array.from({ length: Math.ceil(size / ELEMENTS_PER_RANGE) }, (_, index) => {
    const start = index * ELEMENTS_PER_RANGE;
    return { start, count: Math.min(ELEMENTS_PER_RANGE, size - start) };
  });
}

/**
 * Compares a range of the source with the same elements of the target, counted from the head and
 * from the tail: behind an element that one side lacks, all others lie at another index. The
 * alignment that was right the last time is tried first.
 */
function comparer(pair: WatchedPair): (range: Range) => Promise<Part[]> {
  const { source, target } = pair;
  const sizeOnTarget = target.state.type === 'list' ? target.state.size : 0;
  let shifts = [...new Set([0, sizeOnTarget - source.state.size])];

  const find = async (range: Range, ofSource: RangeDigest): Promise<Part> => {
    const { count, bytes, digest } = ofSource;
    for (const shift of shifts) {
      const start = range.start + shift;
      if (start < 0 || start + count > sizeOnTarget) continue;
      await pair.afford(Math.ceil(count / ELEMENTS_PER_COMMAND) + STEP_OPERATIONS);
      const ofTarget = pair.settled(await target.digestList({ start, count }), 'target', 'compare');
      if (ofTarget.count !== count || ofTarget.digest !== digest) continue;
      shifts = [shift, ...shifts.filter((other) => other !== shift)];
      return { start: range.start, count, bytes, onTarget: start };
    }
    return { start: range.start, count, bytes, onTarget: null };
  };

  // Where the elements are large, a range is compared in several parts.
  return async (range) => {
    const parts: Part[] = [];
    const end = range.start + range.count;
    for (let start = range.start; start < end; ) {
      const ofSource = pair.settled(await source.digestList({ start, count: end - start }), 'source', 'compare');
      if (ofSource.count === 0) throw new ChangedMeanwhile();
      parts.push(await find({ start, count: end - start }, ofSource));
      start += ofSource.count;
    }
    return parts;
  };
}
