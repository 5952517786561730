/** What is used of packages that bring no types. */
declare module 'lz4js' {
  /** One frame. */
  export function decompress(bytes: Uint8Array): Uint8Array;
  const lz4: { decompress: typeof decompress };
  export default lz4;
}

declare module 'snappyjs' {
  /** One block, with its length in front. */
  export function uncompress(bytes: Uint8Array): Uint8Array;
  export function compress(bytes: Buffer): Buffer;
  const snappy: { uncompress: typeof uncompress; compress: typeof compress };
  export default snappy;
}
