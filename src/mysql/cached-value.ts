/** A value that no server holds yet: compared with what one says of its own, and written there. */
import {
  compareWith,
  DIFFERENT,
  digestOfHash,
  digestOfString,
  isComparable,
  packed,
  type ReadRequest,
  ROW_DIGEST,
  sha1,
  VALUE_DIGEST,
} from '../redis/index.js';
import type { CachedValue } from './row-value.js';

/** What it takes of a server, and no less: what is too large there is so here as well. */
export function sizeOf(value: CachedValue): { readonly bytes: number; readonly elements: number } {
  // Its own bytes are counted there.
  if (value.type === 'string') return { bytes: value.value.length, elements: 1 };
  let bytes = HASH_BYTES;
  for (const [field, cell] of value.fields) bytes += FIELD_BYTES + allocated(field.length) + allocated(cell.length);
  return { bytes, elements: value.fields.size };
}

/** In memory, besides texts: of the hash and its key; of each field its places in tables. */
const [HASH_BYTES, FIELD_BYTES] = [1024, 64];
/** What an allocator gives a text: it has four sizes from one power of two to the next. */
function allocated(length: number): number {
  // In front of it stands how long it is, behind it a zero.
  const bytes = Math.max(16, length + (length < 256 ? 4 : length < 65_536 ? 6 : 10));
  const step = Math.max(16, 2 ** (Math.ceil(Math.log2(bytes)) - 3));
  return Math.ceil(bytes / step) * step;
}

/** Tells it from every other value. */
export function identityOf(value: CachedValue): string {
  return `row:${value.type}:${contentOf(value)}`;
}

/** The digest that a server makes of its content. */
function contentOf(value: CachedValue): string {
  return value.type === 'string' ? digestOfString(value.value) : digestOfHash(value.fields);
}

/**
 * @param known what is cached, as a server has told of it
 * @returns `equal`, or what `Reading.content` is to be
 */
export function compareCached(value: CachedValue, known: ReadRequest['known']): 'equal' | { content: string | null } {
  if (known.type !== value.type) return { content: null };
  const { digest } = known;
  const first = digest.charCodeAt(0);
  // A small value's digest is its DUMP, which begins with the number of its type.
  if (first < 32 && isComparable(first)) {
    const verdict = compareWith(Buffer.from(digest, 'latin1'), value.type, textsOf(value));
    if (verdict !== 'unknown') return verdict === 'equal' ? 'equal' : { content: DIFFERENT };
  }
  if (value.type === 'string' && digest.startsWith(VALUE_DIGEST)) {
    return digest === VALUE_DIGEST + sha1(value.value) ? 'equal' : { content: DIFFERENT };
  }
  return { content: ROW_DIGEST + contentOf(value) };
}

function textsOf(value: CachedValue): string[] {
  return value.type === 'string' ? [value.value.toString('latin1')] : [...value.fields].flat();
}

/** Fields in one command: Lua's stack is bounded. */
const FIELDS_PER_COMMAND = 500;

/** The commands that build it, as `RecipeReading` has them. */
export function recipeOf(value: CachedValue): Buffer {
  if (value.type === 'string') return packed([packed(['SET', value.value])]);
  const commands: Buffer[] = [];
  const flat = textsOf(value).map((text) => Buffer.from(text, 'latin1'));
  for (let first = 0; first < flat.length; first += 2 * FIELDS_PER_COMMAND) {
    commands.push(packed(['HSET', ...flat.slice(first, first + 2 * FIELDS_PER_COMMAND)]));
  }
  return packed(commands);
}
