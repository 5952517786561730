/** Which keys a mapping takes: `user:{id}`, and what the named parts of a key are. */

/** `text`: up to 255 bytes, none of them a colon; `int`: an integer, as a database writes it. */
type PartKind = 'text' | 'int';

export interface KeyPart {
  readonly name: string;
  readonly kind: PartKind;
}

/** A part of one key. */
export interface PartValue extends KeyPart {
  /** Never empty. */
  readonly bytes: Buffer;
}

/** `007` is another key than `7`, and would be the same row. Bounded, for keys can be crafted. */
const SHAPES: Readonly<Record<PartKind, RegExp>> = { text: /[^:]{1,255}/y, int: /0|-?[1-9]\d{0,19}/y };
const TOKEN = /\{\{|\}\}|\{([^{}]*)\}|[{}]/g;
const PART = /^([A-Za-z_]\w*)(?::(\w+))?$/;

export class KeyPattern {
  /** What stands in front of the first part. */
  readonly #start: string;
  /** What stands behind each part. */
  readonly #behind: readonly string[];

  private constructor(
    readonly text: string,
    readonly parts: readonly KeyPart[],
    /** In front of the first part and behind each. */
    between: readonly string[],
    /** Where a key can be read in two ways, a warning: the second half of a sentence. */
    readonly unclear: string | undefined,
  ) {
    // Keys are bytes: each is one character of Latin-1.
    const [start, ...behind] = between.map((text) => Buffer.from(text).toString('latin1'));
    this.#start = start!;
    this.#behind = behind;
  }

  /** @returns what is wrong with it, as the second half of a sentence that begins with its place */
  static parse(text: string): KeyPattern | string {
    const parts: KeyPart[] = [];
    const texts: string[] = [];
    let end = 0;
    // Since the last part.
    let between = '';
    let unclear: string | undefined;
    for (const match of text.matchAll(TOKEN)) {
      between += text.slice(end, match.index);
      end = match.index + match[0].length;
      if (match[0] === '{{' || match[0] === '}}') {
        between += match[0][0];
        continue;
      }
      const [, name, kind = 'text'] = PART.exec(match[1] ?? '') ?? [];
      if (name === undefined) return 'has a brace that names no part; write {name} or {name:int}, and {{ for a brace';
      if (kind !== 'text' && kind !== 'int')
        return `has a part of the unknown kind "${kind}"; write {${name}} or {${name}:int}`;
      if (parts.some((part) => part.name === name)) return `has the part "${name}" twice`;
      if (parts.length > 0 && between === '')
        return `does not say where the part in front of "${name}" ends; put a text between them`;
      const before = parts.at(-1);
      if (before?.kind === 'text' && !between.includes(':')) {
        unclear ??= `lets "${between}" stand in {${before.name}} as well, which the last one of a key ends; put a colon between the parts`;
      }
      texts.push(between);
      between = '';
      parts.push({ name, kind });
    }
    if (parts.length === 0) return 'has no part; name what differs from key to key, for example user:{id}';
    return new KeyPattern(text, parts, [...texts, between + text.slice(end)], unclear);
  }

  /** @returns the parts of the key in their order; null: it is no key of this pattern */
  match(key: Buffer): readonly PartValue[] | null {
    const text = key.toString('latin1');
    if (!text.startsWith(this.#start)) return null;
    const found = this.#from(0, this.#start.length, text, new Set());
    return found && this.parts.map((part, index) => ({ ...part, bytes: Buffer.from(found[index]!, 'latin1') }));
  }

  /**
   * The parts from one on, each as long as it can be.
   * @param dead where which part has been tried in vain: else a crafted key would be tried in each
   *   of so many ways that they hold the process for minutes
   */
  #from(index: number, at: number, key: string, dead: Set<number>): readonly string[] | null {
    const part = this.parts[index];
    if (part === undefined) return at === key.length ? [] : null;
    const place = at * this.parts.length + index;
    if (dead.has(place)) return null;
    const shape = SHAPES[part.kind];
    shape.lastIndex = at;
    const longest = shape.exec(key)?.[0] ?? '';
    const shortest = part.kind === 'int' && longest.startsWith('-') ? 2 : 1;
    const behind = this.#behind[index]!;
    for (let length = longest.length; length >= shortest; length--) {
      const end = at + length;
      const rest = key.startsWith(behind, end) ? this.#from(index + 1, end + behind.length, key, dead) : null;
      if (rest !== null) return [longest.slice(0, length), ...rest];
    }
    dead.add(place);
    return null;
  }
}
