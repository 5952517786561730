/** How much room a text takes in a payload. Without `Buffer`, which workflows do not have. */

/** Bytes of the text as an item of a list in JSON, in UTF-8: with its quotes and a comma. */
export function jsonBytes(text: string): number {
  let bytes = 3;
  for (let index = 0; index < text.length; index++) {
    const unit = text.charCodeAt(index);
    if (unit < 0x20) bytes += '\b\t\n\f\r'.includes(text[index]!) ? 2 : 6;
    else if (unit < 0x80) bytes += unit === 0x22 || unit === 0x5c ? 2 : 1;
    else if (unit < 0x800) bytes += 2;
    else if (unit < 0xd800 || unit > 0xdfff) bytes += 3;
    else if (unit < 0xdc00 && isLowSurrogate(text.charCodeAt(index + 1))) {
      bytes += 4;
      index += 1;
    }
    // Half of a pair is written as `\ud800`.
    else bytes += 6;
  }
  return bytes;
}

function isLowSurrogate(unit: number): boolean {
  return unit >= 0xdc00 && unit <= 0xdfff;
}

/** What a list of keys in a payload may have at most. */
interface ListLimits {
  readonly items: number;
  readonly bytes: number;
}

/** Of keys that stand for all of them: the first ones that there is room for. */
export function firstWithin<Key extends { readonly key: string }>(
  keys: readonly Key[],
  { items, bytes }: ListLimits,
): Key[] {
  let room = bytes;
  const taken: Key[] = [];
  for (const key of keys) {
    const size = jsonBytes(key.key);
    if (taken.length === items) break;
    if (size > room) continue;
    room -= size;
    taken.push(key);
  }
  return taken;
}
