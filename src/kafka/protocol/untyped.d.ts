/** What is used of packages that bring no types. */
declare module 'lz4js' {
  /** One frame. @param room of what is made of it */
  export function decompress(bytes: Uint8Array, room: number): Uint8Array;
  const lz4: { decompress: typeof decompress };
  export default lz4;
}

declare module 'snappyjs' {
  /** One block, with its length in front. @throws Error where that is more than `most` */
  export function uncompress(bytes: Uint8Array, most: number): Uint8Array;
  export function compress(bytes: Buffer): Buffer;
  const snappy: { uncompress: typeof uncompress; compress: typeof compress };
  export default snappy;
}
