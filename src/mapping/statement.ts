/** The SELECT of a mapping, with places for the parts of a key: `:id`, or `?` for each in turn. */
import { didYouMean } from '../did-you-mean.js';
import type { KeyPart, PartValue } from './key-pattern.js';

/** What may hold a `:` or a `?` that is none of ours, and these. */
const TOKENS =
  /'(?:[^'\\]|\\.|'')*'|"(?:[^"\\]|\\.|"")*"|`[^`]*`|--\s[^\n]*|#[^\n]*|\/\*[\s\S]*?\*\/|:([A-Za-z_]\w*)|[?;]/g;

export class Statement {
  private constructor(
    /** What stands between the places. */
    readonly pieces: readonly string[],
    /** By place the index of its part. */
    readonly places: readonly number[],
  ) {}

  /** @returns what is wrong with it, as the second half of a sentence that begins with its place */
  static parse(sql: string, parts: readonly KeyPart[]): Statement | string {
    if (!/^\s*(select|with)\b/i.test(sql)) return 'is no SELECT; the source is only ever read';
    const pieces: string[] = [];
    const places: number[] = [];
    let marks = 0;
    let end = 0;
    for (const match of sql.matchAll(TOKENS)) {
      const [token, name] = match;
      if (token === ';') return 'has a ; in it; give one SELECT, without a ; at its end';
      if (name === undefined && token !== '?') continue;
      const index = name === undefined ? marks++ : parts.findIndex((part) => part.name === name);
      if (index < 0) {
        const known = parts.map((part) => `:${part.name}`);
        return `asks for :${name}, which is no part of the key${didYouMean(`:${name}`, known)}`;
      }
      pieces.push(sql.slice(end, match.index));
      places.push(index);
      end = match.index + token.length;
    }
    if (places.length === 0) return `uses no part of the key; compare a column with :${parts[0]!.name}`;
    if (marks > 0 && marks !== places.length) return 'mixes ? with names; use either';
    if (marks > 0 && marks !== parts.length) return `has ${marks} of ? for ${parts.length} parts of the key`;
    return new Statement([...pieces, sql.slice(end)], places);
  }

  /** The text for the parts of one key. */
  sqlFor(values: readonly PartValue[]): string {
    return this.#filled((index) => sqlLiteral(values[index]!));
  }

  /** A text that finds no row, and tells of its columns. */
  get sqlForNone(): string {
    return this.#filled(() => 'NULL');
  }

  #filled(value: (index: number) => string): string {
    return this.pieces.map((piece, place) => (place === 0 ? '' : value(this.places[place - 1]!)) + piece).join('');
  }
}

/**
 * A key may hold any bytes, and which characters escape in a string is a setting of the server. Hex
 * digits need no escape. As text, and not as the number that plain hex digits may be.
 */
function sqlLiteral({ kind, bytes }: PartValue): string {
  if (kind === 'int') return bytes.toString('latin1');
  const charset = Buffer.from(bytes.toString('utf8')).equals(bytes) ? '_utf8mb4' : '_binary';
  return `${charset} X'${bytes.toString('hex')}'`;
}
