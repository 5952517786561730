/**
 * What the application writes to the source, and what came of it. Observed at `sendCommand`, the one place that every command
 * of ioredis goes through: methods, `call`, pipelines, MULTI, scripts, auto-pipelining.
 */
import type { Cluster, Command, Redis } from 'ioredis';
import type { Argument } from '../../commands/arguments.js';
import { runsScript } from '../../commands/command.js';
import type { RawReply } from '../target/mirror-plan.js';
import { type Announcement, number, sendAnnounced } from './announce.js';
import { type Observer, observe, standIn } from './observe-command.js';
import type { AcceptedWrite, SourceListener } from './source-listener.js';
import { type Awaited, Unanswered } from './unanswered.js';
import { classify, type Write } from './write.js';

export interface ObservedSource {
  /** Stands in for the source client's own. */
  sendCommand: SendCommand;
  /** Writes that the source has not answered yet. */
  readonly unanswered: Pick<Unanswered, 'list' | 'none'>;
  /** From now on writes are refused. */
  close(): void;
}

type Stream = Parameters<Cluster['sendCommand']>[1];
/** The node is a Cluster's: all of a pipeline goes to one. */
type SendCommand = (command: Command, stream?: Stream, node?: Parameters<Cluster['sendCommand']>[2]) => unknown;

/** MULTI up to EXEC, on the one connection of the client. */
interface Transaction {
  /** What the source has queued, in order; null stands for a command that is no write. */
  readonly queued: (Awaited | Announcement | null)[];
  /** Set by a refused command: the transaction must not run without it. */
  refusal?: Error;
}

export function observeSource(source: Redis | Cluster, listener: SourceListener): ObservedSource {
  const send: SendCommand = source.sendCommand.bind(source);
  const unanswered = new Unanswered();
  let transaction: Transaction | undefined;
  let closed = false;

  // The server forgets the transaction with the connection. ioredis sends nothing again that was answered, with QUEUED too.
  source.on('close', () => transaction && forgetQueued(transaction));

  const sendCommand: SendCommand = (command, stream, node) => {
    const name = command.name.toLowerCase();
    if (name === 'multi') {
      transaction = { queued: [] };
    } else if (name === 'discard' || name === 'reset') {
      if (transaction) observeEnd(command, transaction);
      transaction = undefined;
    } else if (name === 'exec') {
      if (transaction) observeExec(command, transaction);
      transaction = undefined;
    } else {
      const found = command.isReadOnly ? OTHER : classify(command.name, command.args as Argument[]);
      if (found.kind === 'refused') return refuse(new Error(found.reason), command, stream, node);
      if (found.kind === 'write' && closed) return refuse(new Error('the DualWriter is closed'), command, stream, node);
      if (found.kind === 'write') {
        const announcements = listener.announce?.(found.write) ?? [];
        for (const announcement of announcements) observeAnnouncement(announcement, transaction);
        observeWrite(command, found.write, transaction);
        if (announcements.length > 0) return announced(announcements, command, stream);
      } else if (transaction) {
        observeQueued(command, transaction);
      }
    }
    if (listener.announce && isPipeline(stream)) number(command, stream);
    return send(command, stream, node);
  };

  function announced(announcements: readonly Announcement[], command: Command, stream: Stream): unknown {
    const ahead = announcements.map((announcement) => announcement.command);
    return sendAnnounced(source as Redis, send, { ahead, command, stream: isPipeline(stream) ? stream : undefined });
  }

  function observeAnnouncement(announcement: Announcement, open: Transaction | undefined): void {
    observe(announcement.command, {
      answered(reply) {
        if (open && isQueued(reply)) open.queued.push(announcement);
        else announcement.answered(reply);
        return undefined;
      },
      refused: (error) => announcement.answered(error),
    });
    // Nobody waits for it.
    announcement.command.promise.catch(() => {});
  }

  function observeWrite(command: Command, write: Write, open: Transaction | undefined): void {
    observe(command, new ObservedWrite(unanswered.add(write), open, unanswered, listener));
  }

  /** A command that is no write: only its place in the transaction matters. */
  function observeQueued(command: Command, open: Transaction): void {
    observe(command, {
      answered(reply) {
        if (isQueued(reply)) open.queued.push(null);
        return undefined;
      },
    });
  }

  /** None of what the source has queued so far will ever be carried out. */
  function forgetQueued({ queued }: Transaction): void {
    for (const awaited of queued.splice(0).filter(isOfApplication)) unanswered.remove(awaited);
  }

  /** DISCARD and RESET. Without an answer, the connection is lost or they arrive yet: either ends the transaction. */
  function observeEnd(command: Command, open: Transaction): void {
    const end = () => forgetQueued(open);
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

  function observeExec(command: Command, open: Transaction): void {
    if (open.refusal) {
      const message = `EXECABORT Transaction discarded: ${open.refusal.message}`;
      standIn(command, 'discard', new Error(message, { cause: open.refusal }));
    }
    const ofApplication = () => open.queued.filter(isOfApplication);
    const end = () => {
      for (const awaited of ofApplication()) unanswered.remove(awaited);
    };
    observe(command, {
      answered(replies, resent) {
        end();
        // null: a watched key changed, nothing was carried out.
        if (!Array.isArray(replies)) return undefined;
        const queued = takeAnnouncements(open.queued, replies);
        const writes = queued.flatMap((awaited, index): AcceptedWrite[] =>
          awaited === null ? [] : [{ write: awaited.write, reply: replies[index], resent }],
        );
        const failed = writes.filter(({ reply }) => reply instanceof Error);
        const accepted = writes.filter(({ reply }) => !(reply instanceof Error));
        const halfDone = failed.map(({ write }) => write).filter(({ command }) => runsScript(command));
        listener.refused(failed.map(({ write }) => write).filter(({ command }) => !runsScript(command)));
        const settled = accepted.length > 0 ? listener.accepted(accepted) : undefined;
        // After them: they may land on top of the repair that its record asks for.
        if (halfDone.length > 0) listener.unknown(halfDone);
        return settled;
      },
      refused: end,
      lost() {
        end();
        listener.unknown(ofApplication().map(({ write }) => write));
      },
      unsent: end,
    });
  }

  function refuse(error: Error, ...[command, stream, node]: Parameters<SendCommand>): unknown {
    if (transaction) transaction.refusal ??= error;
    if (!isPipeline(stream)) {
      command.reject(error);
      return command.promise;
    }
    // A pipeline counts on every one of its commands being written and answered.
    standIn(command, 'ping', error);
    return send(command, stream, node);
  }

  return {
    sendCommand,
    unanswered,
    close() {
      closed = true;
    },
  };
}

/** A class, because there is one for each write: what it is made of stands in front of other callers' replies. */
class ObservedWrite implements Observer {
  constructor(
    private readonly awaited: Awaited,
    private readonly open: Transaction | undefined,
    private readonly unanswered: Unanswered,
    private readonly listener: SourceListener,
  ) {}

  answered(reply: RawReply, resent: boolean): Promise<void> | undefined {
    if (this.open && isQueued(reply)) {
      this.open.queued.push(this.awaited);
      return undefined;
    }
    this.unanswered.remove(this.awaited);
    return this.listener.accepted([{ write: this.awaited.write, reply, resent }]);
  }

  refused(error: Error): void {
    const { write } = this.awaited;
    this.unanswered.remove(this.awaited);
    explainReadOnly(error);
    // A script that fails half-way has done its first half.
    if (runsScript(write.command) && !error.message.startsWith('NOSCRIPT')) this.listener.unknown([write]);
    // Refused into the queue of a transaction, it is not carried out either.
    else this.listener.refused([write]);
  }

  lost(): void {
    this.unanswered.remove(this.awaited);
    this.listener.unknown([this.awaited.write]);
  }

  unsent(): void {
    this.unanswered.remove(this.awaited);
  }
}

const OTHER = { kind: 'other' } as const;

/** The server says only that it is a replica; that it is the writer's source is what the application can mend. */
function explainReadOnly(error: Error): void {
  if (!error.message.startsWith('READONLY')) return;
  error.message += ' (it is the source of a DualWriter: give that a client of the master)';
}

function isQueued(reply: RawReply): boolean {
  return Buffer.isBuffer(reply) && reply.equals(QUEUED);
}
const QUEUED = Buffer.from('QUEUED');

type PipelineStream = Parameters<typeof number>[1];

function isPipeline(stream: Stream): stream is Stream & PipelineStream {
  return stream !== undefined && 'isPipeline' in stream && stream.isPipeline;
}

function isAnnouncement(queued: Awaited | Announcement | null): queued is Announcement {
  return queued !== null && 'answered' in queued;
}

function isOfApplication(queued: Awaited | Announcement | null): queued is Awaited {
  return queued !== null && !isAnnouncement(queued);
}

/**
 * Answers the announcements of a transaction and removes their replies from those that the application gets.
 * @returns what the replies that are left belong to
 */
function takeAnnouncements(queued: Transaction['queued'], replies: unknown[]): (Awaited | null)[] {
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
