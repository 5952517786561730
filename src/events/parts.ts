/** Records in as many parts as their bytes ask for. */

/** What a part may have at most. */
export interface PartLimits {
  readonly bytes: number;
  /** Default: any number. */
  readonly items?: number;
}

/**
 * Splits a list into parts within the limits, in order. An item that is too large for any part has
 * one of its own.
 * @param sizeOf bytes of an item; called once for each
 */
export function* inParts<Item>(
  items: Iterable<Item>,
  sizeOf: (item: Item) => number,
  { bytes: mostBytes, items: mostItems = Number.POSITIVE_INFINITY }: PartLimits,
): Generator<Item[]> {
  let part: Item[] = [];
  let bytes = 0;
  for (const item of items) {
    const size = sizeOf(item);
    if (part.length > 0 && (part.length >= mostItems || bytes + size > mostBytes)) {
      yield part;
      part = [];
      bytes = 0;
    }
    part.push(item);
    bytes += size;
  }
  if (part.length > 0) yield part;
}
