/**
 * Work on a sequence, several items at once and in order. Not p-map's: it answers in order, but
 * does not promise to begin in order, as steps need that append; and when its consumer ends, its
 * source may still be asked for more.
 */

/**
 * Begins with up to `depth` items before the first has ended, always in their order, and answers in
 * their order. When it ends, however it does, nothing that it has begun is still at work.
 * @throws what `work` or `items` threw, at its place in the order
 */
export async function* ahead<Item, Result>(
  items: Iterable<Item> | AsyncIterable<Item>,
  depth: number,
  work: (item: Item) => Promise<Result>,
): AsyncGenerator<Result> {
  const begun: Promise<Result>[] = [];
  try {
    for await (const item of items) {
      const result = work(item);
      // It is thrown where its turn comes; until then it must not count as unhandled.
      result.catch(() => {});
      begun.push(result);
      if (begun.length === depth) yield (await begun.shift())!;
    }
    for (const result of begun) yield await result;
  } finally {
    await Promise.allSettled(begun);
  }
}
