/** Lists that travel to a script as one argument, as `unpackList` of lua/lists.lua reads them. */

export function packed(list: readonly (Buffer | string)[]): Buffer {
  return Buffer.concat(
    list.flatMap((item) => {
      const bytes = typeof item === 'string' ? Buffer.from(item) : item;
      return [Buffer.from(`${bytes.length}:`), bytes];
    }),
  );
}
