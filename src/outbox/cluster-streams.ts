/** The streams of an outbox in a Cluster. */

/**
 * The hash tag of each stream in a Cluster. The n-th belongs to the n-th sixteenth of the slots,
 * which its first digit tells, and its own slot lies in there. So where a master has whole
 * sixteenths, a key and its entry are on the same master.
 */
const CLUSTER_TAGS = '0aa 1ab 2bb 3ba 4db 5da 6fb 7fa 8fd 9fc aai bdc cbo dbc edn fad'.split(' ');
const SLOTS_OF_A_STREAM = 16_384 / CLUSTER_TAGS.length;

/**
 * The streams of an outbox, or of dead letters, in a Cluster: `<key>:{tag}`, in the order of their
 * slots. Always the same ones.
 * @throws Error when the key has a hash tag of its own, which would put all of them into one slot
 */
export function clusterStreams(key: string): readonly string[] {
  if (key.includes('{')) {
    throw new Error(`${key} can't name streams in a Cluster: they get hash tags, so it must not have a { of its own`);
  }
  return CLUSTER_TAGS.map((tag) => `${key}:{${tag}}`);
}

/** Which of `clusterStreams` takes the records of the keys in a slot. */
export function clusterStreamIndex(slot: number): number {
  return Math.floor(slot / SLOTS_OF_A_STREAM);
}
