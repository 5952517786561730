/** A large stream, compared by ranges of IDs; then its groups and what is pending in them. */
import type {
  EntryRange,
  PendingEntry,
  StreamEntry,
  StreamGroup,
  StreamState,
  TemporaryKey,
} from '../../redis/index.js';
import { ahead } from './ahead.js';
import { ChangedMeanwhile } from './changed-meanwhile.js';
import { type Comparison, RANGES_IN_FLIGHT, type WatchedPair } from './in-order.js';

/** Each is an operation when the stream is built. */
const ENTRIES_PER_RANGE = 100;
/** What a step of building costs besides. */
const STEP_OPERATIONS = 6;
const BEFORE_ALL = '0-0';

interface Part extends EntryRange {
  readonly count: number;
  readonly bytes: number;
  readonly onTarget: boolean;
  readonly isCopyable: boolean;
}

interface Planned {
  /** Entries of the temporary key before it. */
  readonly size: number;
  readonly part: Part;
  /** IDs as in `missingEntries`. */
  readonly missing: readonly string[];
}

/** A part with what has to travel for it. null: the target's own range serves. */
interface Loaded extends Pick<Planned, 'size' | 'part'> {
  readonly entries: readonly StreamEntry[] | null;
}

const BEHIND_ALL: Part = { after: '+', through: '+', count: 0, bytes: 0, onTarget: false, isCopyable: false };
const STAND_IN = [Buffer.from('keymend'), Buffer.from('')];

export async function compareStreams(pair: WatchedPair): Promise<Comparison> {
  const parts: Part[] = [];
  const compare = (range: RangeOfSource) => comparePart(pair, range);
  for await (const part of ahead(rangesOfSource(pair), RANGES_IN_FLIGHT, compare)) {
    parts.push(part);
    await pair.advance();
  }
  const state = pair.settled(await pair.source.readStreamState(), 'source', 'read');
  const equal =
    pair.target.state.type === 'stream' &&
    pair.target.state.size === pair.source.state.size &&
    parts.every(({ onTarget }) => onTarget) &&
    sameState(state, pair.settled(await pair.target.readStreamState(), 'target', 'compare')) &&
    (await samePending(pair, state.groups));
  return {
    bytes: parts.reduce((sum, { bytes }) => sum + bytes, 0),
    equal,
    build: (temporary) => build(pair, parts, state, temporary),
  };
}

interface RangeOfSource extends EntryRange {
  readonly count: number;
  readonly bytes: number;
  readonly digest: string;
  readonly isCopyable: boolean;
}

/** One behind the other: where a range begins is known when the one before it has ended. */
async function* rangesOfSource(pair: WatchedPair): AsyncGenerator<RangeOfSource> {
  for (let after = BEFORE_ALL; ; ) {
    const asked = { after, through: '+', count: ENTRIES_PER_RANGE };
    const { last, ...found } = pair.settled(await pair.source.digestStream(asked), 'source', 'compare');
    if (found.count === 0) return;
    yield { ...found, after, through: last };
    after = last;
  }
}

async function comparePart(pair: WatchedPair, range: RangeOfSource): Promise<Part> {
  const { digest, ...part } = range;
  if (pair.target.state.type !== 'stream') return { ...part, onTarget: false };
  // One more than it should have: that would be copied with the others.
  const asked = { after: range.after, through: range.through, count: range.count + 1 };
  const ofTarget = pair.settled(await pair.target.digestStream(asked), 'target', 'compare');
  return { ...part, onTarget: ofTarget.count === range.count && ofTarget.digest === digest };
}

function sameState(one: StreamState, other: StreamState): boolean {
  // How many entries were ever added or read is not compared: earlier versions do not know it.
  const essence = ({ lastGeneratedId, groups }: StreamState) =>
    JSON.stringify([
      lastGeneratedId,
      groups.map(({ name, lastDeliveredId, consumers }) => [
        name.toString('latin1'),
        lastDeliveredId,
        consumers.map((consumer) => consumer.toString('latin1')),
      ]),
    ]);
  return essence(one) === essence(other);
}

async function samePending(pair: WatchedPair, groups: readonly StreamGroup[]): Promise<boolean> {
  for (const { name } of groups) {
    let after = BEFORE_ALL;
    for (;;) {
      const [ofTarget, ofSource] = await Promise.all([
        pair.target.digestPending(name, after),
        pair.source.digestPending(name, after),
      ]);
      const target = pair.settled(ofTarget, 'target', 'compare');
      const source = pair.settled(ofSource, 'source', 'compare');
      if (target.digest !== source.digest) return false;
      if (source.count === 0) break;
      after = source.last;
      await pair.advance();
    }
  }
  return true;
}

async function build(
  pair: WatchedPair,
  parts: readonly Part[],
  state: StreamState,
  temporary: TemporaryKey,
): Promise<void> {
  const missing = await missingEntries(pair, state.groups);
  pair.grown(await temporary.createStream());
  let size = await appendParts(pair, parts, missing, temporary);
  for (const group of state.groups) {
    pair.grown(await temporary.addGroup(size, group));
    await pair.advance();
    for await (const page of pendingPages(pair, group)) {
      await pair.afford(page.length + STEP_OPERATIONS);
      pair.grown(await temporary.addPending(size, group.name, page));
      await pair.advance();
    }
  }
  size -= await removeStandIns(pair, state, missing, size, temporary);
  pair.grown(await temporary.setStreamState(size, state));
}

/**
 * Those in front of all entries are trimmed: a delete is noted by Redis, which then does not know a
 * group's lag any more.
 * @returns how many entries it took away
 */
async function removeStandIns(
  pair: WatchedPair,
  { firstId }: StreamState,
  missing: readonly string[],
  size: number,
  temporary: TemporaryKey,
): Promise<number> {
  const inside = firstId === null ? -1 : missing.findIndex((id) => compareIds(firstId, id) < 0);
  const front = inside === -1 ? missing.length : inside;
  for (let trimmed = 0; trimmed < front; trimmed += ENTRIES_PER_RANGE) {
    const count = Math.min(ENTRIES_PER_RANGE, front - trimmed);
    pair.grown(await temporary.trimEntries(size - trimmed, count));
  }
  for (const [index, ids] of inChunks(missing.slice(front), ENTRIES_PER_RANGE).entries()) {
    pair.grown(await temporary.deleteEntries(size - front - index * ENTRIES_PER_RANGE, ids));
  }
  return missing.length;
}

async function* pendingPages(pair: WatchedPair, { name }: StreamGroup): AsyncGenerator<PendingEntry[]> {
  for (let after = BEFORE_ALL; ; ) {
    const page = pair.settled(await pair.source.readPending(name, after), 'source', 'read');
    const last = page.at(-1);
    if (last === undefined) return;
    yield page;
    after = last.id;
  }
}

/**
 * IDs, in their order, of what is pending although the stream no longer has the entry, trimmed away
 * for example. Servers since Redis 7 make an entry pending only while it is there: such ones are
 * put in, and taken out again when all is pending.
 */
async function missingEntries(pair: WatchedPair, groups: readonly StreamGroup[]): Promise<string[]> {
  const ids = new Set<string>();
  for (const group of groups) {
    for await (const page of pendingPages(pair, group)) {
      for (const { id, exists } of page) if (!exists) ids.add(id);
      await pair.advance();
    }
  }
  return [...ids].sort(compareIds);
}

/** @returns how many entries the temporary key then has */
async function appendParts(
  pair: WatchedPair,
  parts: readonly Part[],
  missing: readonly string[],
  temporary: TemporaryKey,
): Promise<number> {
  const append = async ({ size, part, entries }: Loaded) => {
    // All are sent before the first has ended: what the next part appends comes behind them.
    const steps =
      entries === null
        ? [temporary.copyEntries(size, part)]
        : inChunks(entries, ENTRIES_PER_RANGE).map((chunk, index) =>
            temporary.appendEntries(size + index * ENTRIES_PER_RANGE, chunk),
          );
    for (const outcome of await Promise.all(steps)) pair.grown(outcome);
  };
  const loaded = ahead(withMissing(parts, missing), RANGES_IN_FLIGHT, (planned) => load(pair, planned));
  for await (const _ of ahead(afforded(pair, loaded), RANGES_IN_FLIGHT, append)) await pair.advance();
  return parts.reduce((sum, { count }) => sum + count, 0) + missing.length;
}

/** In their order, for they are appended in it. */
async function* afforded(pair: WatchedPair, loaded: AsyncIterable<Loaded>): AsyncGenerator<Loaded> {
  for await (const each of loaded) {
    const entries = each.entries?.length ?? each.part.count;
    await pair.afford(entries + STEP_OPERATIONS * Math.max(1, Math.ceil(entries / ENTRIES_PER_RANGE)));
    yield each;
  }
}

/**
 * Each part with the missing entries that lie in it or in front of it; those behind the last part
 * are a part of their own.
 */
function* withMissing(parts: readonly Part[], missing: readonly string[]): Generator<Planned> {
  let size = 0;
  let next = 0;
  for (const part of [...parts, BEHIND_ALL]) {
    const first = next;
    while (next < missing.length && (part === BEHIND_ALL || compareIds(missing[next]!, part.through) < 0)) next++;
    const inside = missing.slice(first, next);
    if (part.count + inside.length > 0) yield { size, part, missing: inside };
    size += part.count + inside.length;
  }
}

async function load(pair: WatchedPair, { size, part, missing }: Planned): Promise<Loaded> {
  if (part.onTarget && part.isCopyable && missing.length === 0) return { size, part, entries: null };
  const entries = part.count === 0 ? [] : pair.settled(await pair.source.readStream(part), 'source', 'read');
  if (entries.length !== part.count) throw new ChangedMeanwhile();
  const standIns = missing.map((id): StreamEntry => ({ id, fields: STAND_IN }));
  const inOrder = [...entries, ...standIns].sort((one, other) => compareIds(one.id, other.id));
  return { size, part, entries: inOrder };
}

function compareIds(one: string, other: string): number {
  const [ms, sequence] = idNumbers(one);
  const [otherMs, otherSequence] = idNumbers(other);
  if (ms !== otherMs) return ms < otherMs ? -1 : 1;
  return sequence === otherSequence ? 0 : sequence < otherSequence ? -1 : 1;
}

/** Both parts of an ID are 64 bits wide. */
function idNumbers(id: string): [bigint, bigint] {
  const [ms, sequence] = id.split('-');
  return [BigInt(ms!), BigInt(sequence!)];
}

function inChunks<Item>(items: readonly Item[], length: number): Item[][] {
  return Array.from({ length: Math.ceil(items.length / length) }, (_, index) =>
    items.slice(index * length, (index + 1) * length),
  );
}
