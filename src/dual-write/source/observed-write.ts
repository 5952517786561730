/** What came of a single write, or of what was sent in front of it, alone or in a transaction. */
import { runsScript } from '../../commands/command.js';
import type { RawReply } from '../target/replay.js';
import type { Announcement } from './announce.js';
import { type Observer, observe } from './observe-command.js';
import type { SourceListener } from './source-listener.js';
import { isQueued, type Transaction } from './transaction.js';
import type { Awaited, Unanswered } from './unanswered.js';

/**
 * A class, because one is made for each write: what that costs delays the replies of other callers.
 */
export class ObservedWrite implements Observer {
  readonly #awaited: Awaited;
  readonly #open: Transaction | undefined;
  readonly #unanswered: Unanswered;
  readonly #listener: SourceListener;

  /** @param open the transaction that it is part of */
  constructor(awaited: Awaited, open: Transaction | undefined, unanswered: Unanswered, listener: SourceListener) {
    this.#awaited = awaited;
    this.#open = open;
    this.#unanswered = unanswered;
    this.#listener = listener;
  }

  answered(reply: RawReply, resent: boolean): Promise<void> | undefined {
    if (this.#open && isQueued(reply)) {
      this.#open.queued(this.#awaited);
      return undefined;
    }
    this.#unanswered.remove(this.#awaited);
    const { write, sinceMs } = this.#awaited;
    return this.#listener.accepted([{ write, reply, resent, sinceMs }]);
  }

  refused(error: Error): void {
    const { write } = this.#awaited;
    this.#unanswered.remove(this.#awaited);
    if (error.message.startsWith('READONLY')) this.#listener.isReplica();
    // A script that fails half-way has done its first half.
    if (runsScript(write.command) && !error.message.startsWith('NOSCRIPT')) this.#listener.unknown([write]);
    // Refused into the queue of a transaction, it is not carried out either.
    else this.#listener.refused([write]);
  }

  lost(): void {
    this.#unanswered.remove(this.#awaited);
    this.#listener.unknown([this.#awaited.write]);
  }

  unsent(): void {
    this.#unanswered.remove(this.#awaited);
  }
}

/** Tells an announcement its reply. @param open the transaction that it is part of */
export function observeAnnouncement(announcement: Announcement, open: Transaction | undefined): void {
  observe(announcement.command, {
    answered(reply) {
      if (open && isQueued(reply)) open.queued(announcement);
      else announcement.answered(reply);
      return undefined;
    },
    refused: (error) => announcement.answered(error),
  });
  // Nobody waits for it.
  announcement.command.promise.catch(() => {});
}
