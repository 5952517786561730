/**
 * What each connection to the source is in, by the source's answers: whatever requests share it, a
 * transaction begins and ends with them, or with the connection.
 */
import type { Socket } from 'node:net';
import type { RawReply } from '../target/replay.js';
import type { Announcement } from './announce.js';
import type { Awaited } from './unanswered.js';

/** A command's place in a transaction. `null` stands for one that is no write. */
export type Queued = Awaited | Announcement | null;

export class Connection {
  readonly #queued: Queued[] = [];
  /** Undefined: it is in no transaction. */
  #over: (() => void) | undefined;
  /** How many EXECs were written, and not answered. */
  execs = 0;

  /** What the source has queued, in order. */
  get queued(): readonly Queued[] {
    return this.#queued;
  }

  /** The source has begun a transaction. @param over is called when it ends */
  begin(over: () => void): void {
    this.#over?.();
    this.#over = over;
  }

  /**
   * Whether the reply says that the source has queued the command. Outside of a transaction it is a
   * value.
   */
  queues(command: Queued, reply: RawReply): boolean {
    if (this.#over === undefined || !Buffer.isBuffer(reply) || !reply.equals(QUEUED)) return false;
    this.#queued.push(command);
    return true;
  }

  /** The transaction is over, if there was one. @returns what the source had queued */
  end(): Queued[] {
    this.#over?.();
    this.#over = undefined;
    return this.#queued.splice(0);
  }
}

const QUEUED = Buffer.from('QUEUED');

export class Connections {
  readonly #onClose: (connection: Connection) => void;
  readonly #bySocket = new WeakMap<Socket, Connection>();

  /** @param onClose is called once ioredis has given up what it will not send again */
  constructor(onClose: (connection: Connection) => void) {
    this.#onClose = onClose;
  }

  of(socket: Socket): Connection {
    const known = this.#bySocket.get(socket);
    if (known !== undefined) return known;
    const connection = new Connection();
    this.#bySocket.set(socket, connection);
    // ioredis listens from before it is connected, so it is told first.
    socket.once('close', () => this.#onClose(connection));
    return connection;
  }
}
