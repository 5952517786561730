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
const SHAPES: Readonly<Record<PartKind, string>> = { text: '[^:]{1,255}', int: '0|-?[1-9]\\d{0,19}' };
const TOKEN = /\{\{|\}\}|\{([^{}]*)\}|[{}]/g;
const PART = /^([A-Za-z_]\w*)(?::(\w+))?$/;

export class KeyPattern {
  readonly #expression: RegExp;

  private constructor(
    readonly text: string,
    readonly parts: readonly KeyPart[],
    source: string,
    /** Where a key can be read in two ways, a warning: the second half of a sentence. */
    readonly unclear: string | undefined,
  ) {
    // Keys are bytes: each is one character of Latin-1.
    this.#expression = new RegExp(`^${source}$`, 's');
  }

  /** @returns what is wrong with it, as the second half of a sentence that begins with its place */
  static parse(text: string): KeyPattern | string {
    const parts: KeyPart[] = [];
    let source = '';
    let end = 0;
    // Since the last part.
    let between = '';
    let unclear: string | undefined;
    for (const match of text.matchAll(TOKEN)) {
      const isBehindPart = parts.length > 0 && end === match.index && text[end - 1] === '}' && !source.endsWith('\\}');
      source += literal(text.slice(end, match.index));
      between += text.slice(end, match.index);
      end = match.index + match[0].length;
      if (match[0] === '{{' || match[0] === '}}') {
        source += `\\${match[0][0]}`;
        between += match[0][0];
        continue;
      }
      const [, name, kind = 'text'] = PART.exec(match[1] ?? '') ?? [];
      if (name === undefined) return 'has a brace that names no part; write {name} or {name:int}, and {{ for a brace';
      if (kind !== 'text' && kind !== 'int')
        return `has a part of the unknown kind "${kind}"; write {${name}} or {${name}:int}`;
      if (parts.some((part) => part.name === name)) return `has the part "${name}" twice`;
      if (isBehindPart) return `does not say where the part in front of "${name}" ends; put a text between them`;
      const before = parts.at(-1);
      if (before?.kind === 'text' && !between.includes(':')) {
        unclear ??= `lets "${between}" stand in {${before.name}} as well, which the last one of a key ends; put a colon between the parts`;
      }
      between = '';
      parts.push({ name, kind });
      source += `(${SHAPES[kind]})`;
    }
    if (parts.length === 0) return 'has no part; name what differs from key to key, for example user:{id}';
    return new KeyPattern(text, parts, source + literal(text.slice(end)), unclear);
  }

  /** @returns the parts of the key in their order; null: it is no key of this pattern */
  match(key: Buffer): readonly PartValue[] | null {
    const found = this.#expression.exec(key.toString('latin1'));
    return found && this.parts.map((part, index) => ({ ...part, bytes: Buffer.from(found[index + 1]!, 'latin1') }));
  }
}

function literal(text: string): string {
  return Buffer.from(text)
    .toString('latin1')
    .replace(/[.*+?^${}()|[\]\\]/g, '\\$&');
}
