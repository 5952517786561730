/** Lists that travel to a script as one argument, as lua/unpack.lua reads them. */
import { RedisFailure } from '../connection/failure.js';

export function packed(list: readonly (Buffer | string)[]): Buffer {
  return Buffer.concat(
    list.flatMap((item) => {
      const bytes = typeof item === 'string' ? Buffer.from(item) : item;
      return [Buffer.from(`${bytes.length}:`), bytes];
    }),
  );
}

/**
 * The items of such an argument, or of a reply of the same form. They share its memory.
 * @throws RedisFailure for what has another form
 */
export function unpacked(list: Buffer): Buffer[] {
  const items: Buffer[] = [];
  for (let at = 0; at < list.length; ) {
    const start = list.indexOf(COLON, at) + 1;
    const end = start + Number(start > at ? list.toString('latin1', at, start - 1) : Number.NaN);
    if (!(end >= start && end <= list.length))
      throw new RedisFailure('ERR', 'a list in the reply of a script is damaged');
    items.push(list.subarray(start, end));
    at = end;
  }
  return items;
}

const COLON = ':'.charCodeAt(0);
