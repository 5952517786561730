/** A large list, compared range by range. */
import type { Range, RangeDigest } from '../../redis/index.js';
import { ahead } from './ahead.js';
import { ChangedMeanwhile } from './changed-meanwhile.js';
import { type Comparison, RANGES_IN_FLIGHT, type WatchedPair } from './in-order.js';

const ELEMENTS_PER_RANGE = 1_000;
/** Of what is copied or read at once, where elements are no larger. */
const ELEMENTS_PER_PART = 256;
const BYTES_PER_PART = 262_144;
/** As lua/large/ranges.lua has it. */
const ELEMENTS_PER_COMMAND = 12;
/**
 * Each command goes through the nodes of the list from its nearer end: of one script all together
 * step over no more elements than so, but for the fewest commands that let ranges grow at all.
 */
const MOST_STEPPED_OVER = 2_400_000;
const FEWEST_COMMANDS = 4;
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

/** How many elements to ask for, so many away from the nearer end. */
function atDepth(depth: number): number {
  const commands = Math.max(FEWEST_COMMANDS, Math.floor(MOST_STEPPED_OVER / depth));
  // The first two commands ask for 1 and 4.
  return 5 + ELEMENTS_PER_COMMAND * (commands - 2);
}

/** As one with the part before it, where they lie so on both sides and are not much together. */
function append(parts: Part[], part: Part): void {
  const last = parts.at(-1);
  const follows = last && part.onTarget === (last.onTarget === null ? null : last.onTarget + last.count);
  const [count, bytes] = [part.count + (last?.count ?? 0), part.bytes + (last?.bytes ?? 0)];
  if (follows && count <= ELEMENTS_PER_PART && bytes <= BYTES_PER_PART)
    parts[parts.length - 1] = { ...last, count, bytes };
  else parts.push(part);
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
      // On both sides the same, wherever on the target these elements are looked for.
      const fromHead = start + Math.max(0, sizeOnTarget - source.state.size);
      const depth = Math.min(fromHead, Math.max(sizeOnTarget, source.state.size) - start);
      const count = Math.min(end - start, atDepth(depth));
      const ofSource = pair.settled(await source.digestList({ start, count }), 'source', 'compare');
      if (ofSource.count === 0) throw new ChangedMeanwhile();
      append(parts, await find({ start, count: end - start }, ofSource));
      start += ofSource.count;
    }
    return parts;
  };
}
