/**
 * What the application writes to the source, and what came of it. Observed at `sendCommand`, the
 * one place that every command of ioredis goes through: methods, `call`, pipelines, MULTI, scripts,
 * auto-pipelining.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import type { Cluster, Command, Redis } from 'ioredis';
import type { Argument } from '../../commands/arguments.js';
import { number, sendAnnounced } from './announce.js';
import { Connections } from './connection.js';
import { corkForThisTurn } from './cork.js';
import { observe, standIn } from './observe-command.js';
import { ObservedWrite, observeAnnouncement } from './observed-write.js';
import { isPipeline, type SendCommand } from './send-command.js';
import { onSourceEnd } from './source-end.js';
import type { SourceListener } from './source-listener.js';
import { Transactions } from './transaction.js';
import { type Awaited, Unanswered } from './unanswered.js';
import { UnknownCommands } from './unknown-commands.js';
import { classify, refusalOf, type Write } from './write.js';

export interface ObservedSource {
  /** Stands in for the source client's own. */
  readonly sendCommand: SendCommand;
  /** Writes that the source has not answered yet. */
  readonly unanswered: Pick<Unanswered, 'size' | 'none' | 'take'>;
  /**
   * Refuses writes as soon as all that came before, and was kept back or gathered, is sent; then it
   * resolves.
   */
  close(): Promise<void>;
  /** From now on what is still kept back is refused too. */
  closeNow(): void;
}

interface ObserveOptions {
  /** Whether the client sends what was unanswered again once it has another connection. */
  readonly resends?: boolean;
  /** What is unanswered for longer is told as unknown. */
  readonly maxAgeMs?: number;
  /** That the source client writes. Default 0. */
  readonly database?: number;
}

export function observeSource(
  source: Redis | Cluster,
  listener: SourceListener,
  options: ObserveOptions = {},
): ObservedSource {
  const send: SendCommand = source.sendCommand.bind(source);
  const { unanswered, connections, transactions } = unansweredOf(source, listener, options);
  let closed = false;
  const unknown = new UnknownCommands({
    source,
    send,
    sendObserved: (...call) => sendCommand(...call),
    refuse,
    mayAsk: () => !transactions.wouldTake,
  });

  const sendCommand: SendCommand = (command, stream, node) => {
    if (unknown.holds(command, stream, node)) return command.promise;
    const name = command.name.toLowerCase();
    if (name === 'multi') transactions.observeMulti(command);
    else if (name === 'exec') transactions.observeExec(command);
    else if (name === 'reset' && options.database) return refuse(new Error(RESET_REFUSED), command, stream, node);
    else if (name === 'discard' || name === 'reset') transactions.observeEnd(command);
    else {
      const found = command.isReadOnly ? OTHER : classify(command.name, command.args as Argument[], unknown.describe);
      if (found.kind === 'unknown') return unknown.ask(command, stream, node);
      if (found.kind === 'refused') return refuse(new Error(found.reason), command, stream, node);
      if (found.kind === 'write' && closed) return refuse(new Error('the DualWriter is closed'), command, stream, node);
      if (found.kind === 'write') {
        const ahead = announce(found.write, listener, connections);
        observe(command, connections, new ObservedWrite(unanswered.add(found.write), unanswered, listener));
        if (ahead.length > 0) return sendBehind(ahead, command, stream);
      } else if (transactions.mayBeOpen) transactions.observeOther(command);
    }
    return pass(command, stream, node);
  };

  const pass: SendCommand = (command, stream, node) => {
    if (listener.announce && isPipeline(stream)) number(command, stream);
    corkForThisTurn(source);
    return send(command, stream, node);
  };

  function sendBehind(ahead: readonly Command[], command: Command, stream: Parameters<SendCommand>[1]): unknown {
    return sendAnnounced(source, send, { ahead, command, stream: isPipeline(stream) ? stream : undefined });
  }

  function refuse(error: Error, ...[command, stream, node]: Parameters<SendCommand>): unknown {
    // A pipeline counts on every one of its commands being written and answered.
    if (isPipeline(stream) || transactions.mayBeOpen) {
      standIn(command, error);
      return pass(command, stream, node);
    }
    command.reject(error);
    return command.promise;
  }

  const closeNow = () => {
    closed = true;
  };
  return {
    sendCommand,
    unanswered,
    async close() {
      // What auto-pipelining has gathered comes to `sendCommand` only later.
      while (!closed && source.autoPipelineQueueSize > 0) await sleep(1);
      await unknown.behindHeld(closeNow);
    },
    closeNow,
  };
}

/** What is to be sent in front of a write. */
function announce(write: Write, listener: SourceListener, connections: Connections): readonly Command[] {
  const announcements = listener.announce?.(write);
  if (announcements === undefined) return NONE;
  for (const announcement of announcements) observeAnnouncement(announcement, connections);
  return announcements.map(({ command }) => command);
}

/** What is on its way to the source, by connection. */
function unansweredOf(
  source: Redis | Cluster,
  listener: SourceListener,
  { resends = true, maxAgeMs = 30_000 }: ObserveOptions,
) {
  const unanswered = new Unanswered(maxAgeMs, (writes) => listener.unknown(writes));
  const connections = new Connections((connection) => {
    transactions.closed(connection);
    if (resends) return;
    transactions.giveUp(connection);
    giveUp((awaited) => awaited.connection === connection);
  });
  const transactions = new Transactions(connections, unanswered, listener);
  // What waited to be sent again will not be, and ioredis does not settle all of it.
  onSourceEnd(source, () => {
    transactions.giveUp();
    giveUp((awaited) => awaited.connection !== undefined);
    // The source never had the others. Should the application connect again, they are sent then.
    unanswered.take(() => true);
  });

  function giveUp(which: (awaited: Awaited) => boolean): void {
    const writes = unanswered.take(which);
    if (writes.length > 0) listener.unknown(writes);
  }
  return { unanswered, connections, transactions };
}

/** What comes after it would be mirrored to the database of the link. */
const RESET_REFUSED = refusalOf(
  'RESET',
  'it leads to database 0, and this source client has another; for a clean state connect anew',
);

const OTHER = { kind: 'other' } as const;
const NONE: readonly Command[] = [];
