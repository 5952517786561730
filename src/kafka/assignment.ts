/** Which partitions of the topic are ours. */

export class Assignment {
  #partitions: ReadonlySet<number> = new Set();

  set(partitions: Iterable<number>): void {
    this.#partitions = new Set(partitions);
  }

  /** From now on nothing that was fetched before is ours to go on with. */
  renew(): void {
    this.set(this.#partitions);
  }

  /** @returns whether the partition has been ours since now, without a break, whenever asked */
  holds(partition: number): () => boolean {
    const mine = this.#partitions;
    return () => this.#partitions === mine && mine.has(partition);
  }
}
