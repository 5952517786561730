/**
 * Until when a connection may be silent. A link that is narrow is not dead: what counts is the time
 * since it last moved something, not since a write was handed over.
 */
import type { Socket } from 'node:net';

/**
 * How fast a link must be at least, in bytes a ms: what the kernel has taken shows no progress any
 * more until it is answered.
 */
const SLOWEST_LINK = 1024;
/** More of it no kernel holds, as Linux is set up by default. */
const MOST_HELD_BYTES = 4 * 1024 * 1024;

/**
 * What the socket itself measures idle times by. Its public `bytesWritten` counts what still waits
 * in the process too.
 */
interface Handle {
  /** Given to the handle. */
  readonly bytesWritten: number;
  /** Of these the kernel has not taken yet. */
  readonly writeQueueSize: number;
}

/** Without it, only answers show progress. */
function handleOf(socket: Socket): Partial<Handle> {
  const { _handle: handle } = socket as { _handle?: (Partial<Handle> & { _parent?: Partial<Handle> | null }) | null };
  // Of TLS it is what stands on the connection itself.
  return handle?._parent ?? handle ?? {};
}

export class Progress {
  readonly #timeoutMs: number;
  #read = 0;
  #taken = 0;
  #waiting = 0;
  #seenAt = Number.NEGATIVE_INFINITY;

  /** @param timeoutMs how long nothing may move */
  constructor(timeoutMs: number) {
    this.#timeoutMs = timeoutMs;
  }

  /** How long to wait between two looks, in ms. */
  get lookEveryMs(): number {
    return this.#timeoutMs / 4;
  }

  /**
   * Looks whether something has moved since the last look: answers have come, or the kernel has
   * taken bytes although it was full. While it has room it takes bytes for a dead target too.
   */
  look(socket: Socket, nowMs: number): void {
    const { bytesWritten = 0, writeQueueSize = 0 } = handleOf(socket);
    const taken = bytesWritten - writeQueueSize;
    const hasMoved = socket.bytesRead !== this.#read || (this.#waiting > 0 && taken > this.#taken);
    if (hasMoved) this.#seenAt = nowMs;
    this.#read = socket.bytesRead;
    this.#taken = taken;
    this.#waiting = writeQueueSize;
  }

  /**
   * When the connection is to be taken for dead unless something moves, in `performance.now()`.
   * @param oldestMs when the oldest departed that has no answer
   * @param bytes of all that has none
   */
  deadline(oldestMs: number, bytes: number): number {
    return Math.max(oldestMs, this.#seenAt) + this.#timeoutMs + Math.min(bytes, MOST_HELD_BYTES) / SLOWEST_LINK;
  }
}
