/** Which workflows were told something: a fingerprint of each, for there may be a million. */
import { createHash } from 'node:crypto';

const BYTES = 6;

/** About 50 bytes a workflow. Two of a million share a fingerprint once in five hundred calls. */
export class ToldKeys {
  readonly #known = new Set<number>();
  /** The first and the last ones in full. */
  readonly first: string[] = [];
  readonly last: string[] = [];
  readonly #keep: number;

  constructor(keep: number) {
    this.#keep = keep;
  }

  add(workflowId: string): void {
    this.#known.add(fingerprint(workflowId));
    if (this.first.length < this.#keep) this.first.push(workflowId);
    this.last.push(workflowId);
    if (this.last.length > this.#keep) this.last.shift();
  }

  has(workflowId: string): boolean {
    return this.#known.has(fingerprint(workflowId));
  }

  /** @returns null: it was told nothing */
  fingerprintOf(workflowId: string): number | null {
    const found = fingerprint(workflowId);
    return this.#known.has(found) ? found : null;
  }

  /** Adds it to a set of fingerprints. @returns false: it was told nothing */
  mark(workflowId: string, marked: Set<number>): boolean {
    const found = this.fingerprintOf(workflowId);
    if (found !== null) marked.add(found);
    return found !== null;
  }

  get size(): number {
    return this.#known.size;
  }
}

function fingerprint(workflowId: string): number {
  return createHash('sha1').update(workflowId).digest().readUIntBE(0, BYTES);
}
