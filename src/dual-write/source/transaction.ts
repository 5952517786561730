/**
 * A transaction of the application: what the source has queued, and what of it EXEC carries out.
 */
import type { Command } from 'ioredis';
import { runsScript } from '../../commands/command.js';
import type { RawReply } from '../target/replay.js';
import type { Announcement } from './announce.js';
import { observe, standIn } from './observe-command.js';
import type { AcceptedWrite, SourceListener } from './source-listener.js';
import type { Awaited, Unanswered } from './unanswered.js';

/** `null` stands for a command that is no write. */
type Queued = Awaited | Announcement | null;

/** MULTI up to EXEC, on the one connection of the client. */
export class Transaction {
  readonly #unanswered: Unanswered;
  readonly #listener: SourceListener;
  /** What the source has queued, in order. */
  readonly #queued: Queued[] = [];
  /** Set by a refused command: the transaction must not run without it. */
  #refusal: Error | undefined;

  constructor(unanswered: Unanswered, listener: SourceListener) {
    this.#unanswered = unanswered;
    this.#listener = listener;
  }

  /** The source has queued it. */
  queued(item: Queued): void {
    this.#queued.push(item);
  }

  /** EXEC will be refused, because this command was. The first one counts. */
  refuse(error: Error): void {
    this.#refusal ??= error;
  }

  /** None of what the source has queued so far will ever be carried out. */
  forget(): void {
    for (const awaited of this.#queued.splice(0).filter(isOfApplication)) this.#unanswered.remove(awaited);
  }

  /** A command that is no write: only its place in the transaction matters. */
  observeOther(command: Command): void {
    observe(command, {
      answered: (reply) => {
        if (isQueued(reply)) this.#queued.push(null);
        return undefined;
      },
    });
  }

  /**
   * DISCARD and RESET. Without an answer, the connection is lost or they arrive yet: either ends
   * the transaction.
   */
  observeEnd(command: Command): void {
    const end = () => this.forget();
    observe(command, {
      answered() {
        end();
        return undefined;
      },
      refused: end,
      lost: end,
      unsent: end,
    });
  }

  observeExec(command: Command): void {
    if (this.#refusal) {
      const message = `EXECABORT Transaction discarded: ${this.#refusal.message}`;
      standIn(command, 'discard', new Error(message, { cause: this.#refusal }));
    }
    const end = () => this.#end();
    observe(command, {
      answered: (replies, resent) => {
        end();
        // null: a watched key changed, nothing was carried out.
        return Array.isArray(replies) ? this.#carriedOut(replies, resent) : undefined;
      },
      refused: end,
      lost: () => {
        end();
        this.#listener.unknown(this.#queued.filter(isOfApplication).map(({ write }) => write));
      },
      unsent: end,
    });
  }

  #end(): void {
    for (const awaited of this.#queued.filter(isOfApplication)) this.#unanswered.remove(awaited);
  }

  /** @param replies those of EXEC; the ones that the application does not wait for are taken out */
  #carriedOut(replies: unknown[], resent: boolean): Promise<void> | undefined {
    const queued = takeAnnouncements(this.#queued, replies);
    const writes = queued.flatMap((awaited, index): AcceptedWrite[] =>
      awaited === null ? [] : [{ write: awaited.write, sinceMs: awaited.sinceMs, reply: replies[index], resent }],
    );
    const failed = writes.filter(({ reply }) => reply instanceof Error);
    const accepted = writes.filter(({ reply }) => !(reply instanceof Error));
    const halfDone = failed.map(({ write }) => write).filter(({ command }) => runsScript(command));
    this.#listener.refused(failed.map(({ write }) => write).filter(({ command }) => !runsScript(command)));
    const settled = accepted.length > 0 ? this.#listener.accepted(accepted) : undefined;
    // After them: they may land on top of the repair that its record asks for.
    if (halfDone.length > 0) this.#listener.unknown(halfDone);
    return settled;
  }
}

/** Whether the source has put a command into the queue of a transaction. */
export function isQueued(reply: RawReply): boolean {
  return Buffer.isBuffer(reply) && reply.equals(QUEUED);
}
const QUEUED = Buffer.from('QUEUED');

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
