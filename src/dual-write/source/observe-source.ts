/**
 * What the application writes to the source, and what came of it. Observed at `sendCommand`, the
 * one place that every command of ioredis goes through: methods, `call`, pipelines, MULTI, scripts,
 * auto-pipelining.
 */
import type { Cluster, Command, Redis } from 'ioredis';
import type { Argument } from '../../commands/arguments.js';
import { number, sendAnnounced } from './announce.js';
import { observe, standIn } from './observe-command.js';
import { ObservedWrite, observeAnnouncement } from './observed-write.js';
import { isPipeline, type SendCommand } from './send-command.js';
import type { SourceListener } from './source-listener.js';
import { Transaction } from './transaction.js';
import { Unanswered } from './unanswered.js';
import { UnknownCommands } from './unknown-commands.js';
import { classify, type Write } from './write.js';

export interface ObservedSource {
  /** Stands in for the source client's own. */
  readonly sendCommand: SendCommand;
  /** Writes that the source has not answered yet. */
  readonly unanswered: Pick<Unanswered, 'list' | 'none'>;
  /** From now on writes are refused. */
  close(): void;
}

export function observeSource(source: Redis | Cluster, listener: SourceListener): ObservedSource {
  const send: SendCommand = source.sendCommand.bind(source);
  const unanswered = new Unanswered();
  let transaction: Transaction | undefined;
  let closed = false;
  const unknown = new UnknownCommands({
    source,
    send,
    sendObserved: (...call) => sendCommand(...call),
    refuse,
    mayAsk: () => transaction === undefined,
  });

  // The server forgets the transaction with the connection. ioredis sends nothing again that was
  // answered, with QUEUED too.
  source.on('close', () => transaction?.forget());

  const sendCommand: SendCommand = (command, stream, node) => {
    if (unknown.holds(command, stream, node)) return command.promise;
    const name = command.name.toLowerCase();
    if (name === 'multi') {
      transaction = new Transaction(unanswered, listener);
    } else if (name === 'discard' || name === 'reset') {
      transaction?.observeEnd(command);
      transaction = undefined;
    } else if (name === 'exec') {
      transaction?.observeExec(command);
      transaction = undefined;
    } else {
      const found = command.isReadOnly ? OTHER : classify(command.name, command.args as Argument[], unknown.describe);
      if (found.kind === 'unknown') return unknown.ask(command, stream, node);
      if (found.kind === 'refused') return refuse(new Error(found.reason), command, stream, node);
      if (found.kind === 'write' && closed) return refuse(new Error('the DualWriter is closed'), command, stream, node);
      if (found.kind === 'write') {
        const ahead = announce(found.write);
        observe(command, new ObservedWrite(unanswered.add(found.write), transaction, unanswered, listener));
        if (ahead.length > 0) return sendBehind(ahead, command, stream);
      } else transaction?.observeOther(command);
    }
    if (listener.announce && isPipeline(stream)) number(command, stream);
    return send(command, stream, node);
  };

  /** What is to be sent in front of a write. */
  function announce(write: Write): readonly Command[] {
    const announcements = listener.announce?.(write);
    if (announcements === undefined) return NONE;
    for (const announcement of announcements) observeAnnouncement(announcement, transaction);
    return announcements.map(({ command }) => command);
  }

  function sendBehind(ahead: readonly Command[], command: Command, stream: Parameters<SendCommand>[1]): unknown {
    // It is no Cluster, or nothing would be announced.
    return sendAnnounced(source as Redis, send, { ahead, command, stream: isPipeline(stream) ? stream : undefined });
  }

  function refuse(error: Error, ...[command, stream, node]: Parameters<SendCommand>): unknown {
    transaction?.refuse(error);
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

const OTHER = { kind: 'other' } as const;
const NONE: readonly Command[] = [];
