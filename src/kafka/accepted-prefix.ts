/**
 * Turns acceptance in any order into the one thing that a log with offsets can store: everything
 * before here is done.
 */
export class AcceptedPrefix {
  readonly #done: boolean[];
  #length = 0;
  #accepted = 0;

  constructor(size: number) {
    this.#done = new Array<boolean>(size).fill(false);
  }

  /** How many were accepted, in the prefix or not. */
  get accepted(): number {
    return this.#accepted;
  }

  /**
   * @param index of the record that was accepted, in the order of the log
   * @returns the index of the last record of the accepted prefix if it just grew, else null
   */
  accept(index: number): number | null {
    this.#done[index] = true;
    this.#accepted += 1;
    const before = this.#length;
    while (this.#done[this.#length]) this.#length++;
    return this.#length > before ? this.#length - 1 : null;
  }
}
