/** What came of a single write, or of what was sent in front of it, alone or in a transaction. */
import type { RawReply } from '../target/replay.js';
import type { Announcement } from './announce.js';
import type { Connection, Connections } from './connection.js';
import { type Observer, observe } from './observe-command.js';
import { mayBeDone, type SourceListener } from './source-listener.js';
import type { Awaited, Unanswered } from './unanswered.js';

/**
 * A class, because one is made for each write: what that costs delays the replies of other callers.
 */
export class ObservedWrite implements Observer {
  readonly #awaited: Awaited;
  readonly #unanswered: Unanswered;
  readonly #listener: SourceListener;

  constructor(awaited: Awaited, unanswered: Unanswered, listener: SourceListener) {
    this.#awaited = awaited;
    this.#unanswered = unanswered;
    this.#listener = listener;
    listener.sent?.(awaited.write, awaited.sinceMs);
  }

  written(connection: Connection): void {
    this.#unanswered.written(this.#awaited, connection);
  }

  answered(reply: RawReply, connection: Connection, resent: boolean): Promise<void> | undefined {
    if (connection.queues(this.#awaited, reply)) {
      // From now on it depends on EXEC, even if its caller gave it up.
      this.written(connection);
      return undefined;
    }
    this.#unanswered.remove(this.#awaited);
    const { write, sinceMs } = this.#awaited;
    return this.#listener.accepted([{ write, reply, resent, sinceMs }]);
  }

  /** Refused into the queue of a transaction, it is not carried out either. */
  refused(error: Error, _connection: Connection, resent: boolean): void {
    const { write } = this.#awaited;
    this.#unanswered.remove(this.#awaited);
    if (error.message.startsWith('READONLY')) this.#listener.isReplica();
    if (mayBeDone(write, error, resent)) this.#listener.unknown([write]);
    else this.#listener.refused([write]);
  }

  lost(): void {
    if (this.#unanswered.giveUp(this.#awaited)) this.#listener.unknown([this.#awaited.write]);
  }

  unsent(): void {
    this.#unanswered.remove(this.#awaited);
  }
}

/** Tells an announcement its reply. */
export function observeAnnouncement(announcement: Announcement, connections: Connections): void {
  observe(announcement.command, connections, {
    answered(reply, connection) {
      if (!connection.queues(announcement, reply)) announcement.answered(reply);
      return undefined;
    },
    refused: (error) => announcement.answered(error),
  });
  // Nobody waits for it.
  announcement.command.promise.catch(() => {});
}
