/**
 * Transactions of the application: what the source has queued, and what of it EXEC carries out.
 */
import type { Command } from 'ioredis';
import type { Announcement } from './announce.js';
import type { Connection, Connections, Queued } from './connection.js';
import { observe } from './observe-command.js';
import { type AcceptedWrite, mayBeDone, type SourceListener } from './source-listener.js';
import type { Awaited, Unanswered } from './unanswered.js';
import type { Write } from './write.js';

export class Transactions {
  readonly #connections: Connections;
  readonly #unanswered: Unanswered;
  readonly #listener: SourceListener;
  /** MULTIs that the source has not answered, and transactions that are not over. */
  #begun = 0;
  /** MULTI was sent, and nothing yet that ends it. */
  #isSent = false;
  /** Of MULTIs without an answer: what ends them, and where they were written. */
  readonly #unsettled = new Map<() => void, Connection>();

  constructor(connections: Connections, unanswered: Unanswered, listener: SourceListener) {
    this.#connections = connections;
    this.#unanswered = unanswered;
    this.#listener = listener;
  }

  /** Whether the source may put a command that is sent now into the queue of a transaction. */
  get mayBeOpen(): boolean {
    return this.#begun > 0;
  }

  /** Whether a command that is sent now comes into a transaction, as far as what was sent tells. */
  get wouldTake(): boolean {
    return this.#isSent && this.mayBeOpen;
  }

  observeMulti(command: Command): void {
    this.#begun += 1;
    this.#isSent = true;
    let isOver = false;
    const over = () => {
      this.#unsettled.delete(over);
      if (!isOver) this.#begun -= 1;
      isOver = true;
    };
    observe(command, this.#connections, {
      written: (connection) => void this.#unsettled.set(over, connection),
      answered: (_reply, connection) => {
        this.#unsettled.delete(over);
        connection.begin(over);
        return undefined;
      },
      refused: over,
      lost: over,
      unsent: over,
    });
  }

  /** A command that is no write: only its place in a transaction matters. */
  observeOther(command: Command): void {
    observe(command, this.#connections, {
      answered(reply, connection) {
        connection.queues(null, reply);
        return undefined;
      },
    });
  }

  /** DISCARD and RESET. */
  observeEnd(command: Command): void {
    this.#isSent = false;
    observe(command, this.#connections, {
      answered: (_reply, connection) => {
        this.#take(connection.end());
        return undefined;
      },
    });
  }

  observeExec(command: Command): void {
    this.#isSent = false;
    const end = (connection: Connection) => {
      connection.execs -= 1;
      return connection.end();
    };
    observe(command, this.#connections, {
      written(connection) {
        connection.execs += 1;
      },
      answered: (replies, connection, resent) => {
        const queued = end(connection);
        if (Array.isArray(replies)) return this.#carriedOut(queued, replies, resent);
        // A watched key changed.
        this.#refused(queued, resent);
        return undefined;
      },
      refused: (_error, connection, resent) => this.#refused(end(connection), resent),
      // An answer may still come.
      lost: (connection) => this.#unknown(this.#take(connection.queued)),
    });
  }

  /** The server forgets a transaction with its connection, but may have carried it out before. */
  closed(connection: Connection): void {
    const writes = this.#take(connection.end());
    if (connection.execs > 0) this.#unknown(writes);
  }

  /**
   * MULTIs that are not sent again: ioredis does not settle all of them.
   * @param connection where they were written; absent: wherever
   */
  giveUp(connection?: Connection): void {
    for (const [over, at] of this.#unsettled) if (connection === undefined || at === connection) over();
    if (this.#begun === 0) this.#isSent = false;
  }

  /** Nothing was carried out: by this EXEC, that is. It may be the second time. */
  #refused(queued: readonly Queued[], resent: boolean): void {
    const writes = this.#take(queued);
    if (resent) this.#unknown(writes);
  }

  /** Nobody waits for them any more. @returns the writes that were not given up before */
  #take(queued: readonly Queued[]): Write[] {
    return queued
      .filter(isOfApplication)
      .filter((awaited) => this.#unanswered.giveUp(awaited))
      .map(({ write }) => write);
  }

  #unknown(writes: readonly Write[]): void {
    if (writes.length > 0) this.#listener.unknown(writes);
  }

  /** @param replies those of EXEC; the ones that the application does not wait for are taken out */
  #carriedOut(all: readonly Queued[], replies: unknown[], resent: boolean): Promise<void> | undefined {
    this.#take(all);
    if (replies.length !== all.length) return this.#notTold(all);
    const queued = takeAnnouncements(all, replies);
    const accepted: AcceptedWrite[] = [];
    const refused: Write[] = [];
    const doubtful: Write[] = [];
    for (const [index, item] of queued.entries()) {
      if (item === null) continue;
      const { write, sinceMs } = item;
      const reply = replies[index];
      if (!(reply instanceof Error)) accepted.push({ write, reply, resent, sinceMs });
      else (mayBeDone(write, reply, resent) ? doubtful : refused).push(write);
    }
    this.#listener.refused(refused);
    const settled = accepted.length > 0 ? this.#listener.accepted(accepted) : undefined;
    // After them: they may land on top of the repair that its record asks for.
    this.#unknown(doubtful);
    return settled;
  }

  /** Something in the transaction went past the writer, so no reply can be told from another. */
  #notTold(queued: readonly Queued[]): Promise<void> | undefined {
    this.#unknown(queued.filter(isOfApplication).map(({ write }) => write));
    return queued.some(isAnnouncement) ? Promise.reject(new Error(NOT_TOLD)) : undefined;
  }
}

const NOT_TOLD =
  'the source carried out a transaction with commands that were not sent through the DualWriter, so its replies ' +
  "can't be told from those to keymend; give the source client to nobody else";

function isAnnouncement(queued: Queued): queued is Announcement {
  return queued !== null && 'answered' in queued;
}

function isOfApplication(queued: Queued): queued is Awaited {
  return queued !== null && !isAnnouncement(queued);
}

/**
 * Answers the announcements of a transaction and removes their replies from those that the
 * application gets.
 * @returns what the replies that are left belong to
 */
function takeAnnouncements(queued: readonly Queued[], replies: unknown[]): (Awaited | null)[] {
  const left: (Awaited | null)[] = [];
  for (const [index, item] of queued.entries()) {
    if (isAnnouncement(item)) {
      item.answered(replies[index]);
    } else {
      replies[left.length] = replies[index];
      left.push(item);
    }
  }
  replies.length -= queued.length - left.length;
  return left;
}
