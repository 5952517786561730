/** A large string, compared piece by piece. */
import type { Range } from '../../redis/index.js';
import { ahead } from './ahead.js';
import { ChangedMeanwhile } from './changed-meanwhile.js';
import { type Comparison, RANGES_IN_FLIGHT, type WatchedPair } from './in-order.js';

const PIECE_BYTES = 262_144;

interface Piece extends Range {
  readonly equal: boolean;
}

export async function compareStrings(pair: WatchedPair): Promise<Comparison> {
  const bytes = pair.source.state.size;
  const pieces: Piece[] = [];
  for await (const piece of ahead(piecesOf(bytes), RANGES_IN_FLIGHT, (range) => comparePiece(pair, range))) {
    pieces.push(piece);
    await pair.advance();
  }
  const { type, size } = pair.target.state;
  return {
    bytes,
    equal: type === 'string' && size === bytes && pieces.every(({ equal }) => equal),
    async build(temporary) {
      pair.grown(await temporary.writeString(bytes, readPieces(pair, pieces)));
    },
  };
}

function piecesOf(bytes: number): Range[] {
  return Array.from({ length: Math.ceil(bytes / PIECE_BYTES) }, (_, index) => {
    const start = index * PIECE_BYTES;
    return { start, count: Math.min(PIECE_BYTES, bytes - start) };
  });
}

async function comparePiece(pair: WatchedPair, range: Range): Promise<Piece> {
  const { source, target } = pair;
  // A string that is too short to have the piece need not be asked.
  if (target.state.type !== 'string' || target.state.size < range.start + range.count)
    return { ...range, equal: false };
  const [ofTarget, ofSource] = await Promise.all([target.digestString(range), source.digestString(range)]);
  const { digest } = pair.settled(ofTarget, 'target', 'compare');
  return { ...range, equal: digest === pair.settled(ofSource, 'source', 'compare').digest };
}

/** The source's value; what is equal is read from the target. */
async function* readPieces(pair: WatchedPair, pieces: readonly Piece[]): AsyncGenerator<Buffer> {
  const read = async ({ equal, start, count }: Piece) => {
    const side = equal ? 'target' : 'source';
    const bytes = pair.settled(await pair[side].readString({ start, count }), side, 'read');
    if (bytes.length !== count) throw new ChangedMeanwhile();
    return bytes;
  };
  for await (const bytes of ahead(pieces, RANGES_IN_FLIGHT, read)) {
    yield bytes;
    await pair.advance();
  }
}
