/** Follows one command of ioredis from when it is written to its end. */
import type { Socket } from 'node:net';
import type { Command } from 'ioredis';
import { isReplyError } from '../../redis/index.js';
import type { RawReply } from '../target/replay.js';
import type { Connection, Connections } from './connection.js';

/**
 * `connection`: the one that it was written to last. `resent`: ioredis wrote it before, to an
 * earlier one, whose answer is not known.
 */
export interface Observer {
  written?(connection: Connection): void;
  /**
   * The application gets the reply when the promise resolves, or the error it rejects with; without
   * a promise at once.
   */
  answered(reply: RawReply, connection: Connection, resent: boolean): Promise<void> | undefined;
  /** The source answered with an error. */
  refused?(error: Error, connection: Connection, resent: boolean): void;
  /** Written, but given up without an answer. An answer may still come. */
  lost?(connection: Connection): void;
  /** Given up before it was written. It may still be sent. */
  unsent?(): void;
}

/** Its `resolve` and `reject` are called by the parser itself, so in the order of the replies. */
export function observe(command: Command, connections: Connections, observer: Observer): void {
  const { resolve, reject, toWritable } = command;
  let timesWritten = 0;
  let connection: Connection | undefined;
  let answered = false;
  let held = false;
  command.toWritable = (socket) => {
    // A pipeline that a Cluster tries once more is observed anew.
    if (command.resolve !== settle) return toWritable.call(command, socket);
    timesWritten += 1;
    connection = connections.of(socket as Socket);
    observer.written?.(connection);
    return toWritable.call(command, socket);
  };
  const settle: typeof resolve = (reply) => {
    answered = true;
    const settled = connection && observer.answered(reply, connection, timesWritten > 1);
    if (!settled) return resolve(reply);
    held = true;
    const release = () => {
      held = false;
    };
    settled.finally(release).then(() => resolve(reply), reject);
  };
  command.resolve = settle;
  command.reject = (error) => {
    // The client's `commandTimeout` is for the source, which has answered.
    if (held) return;
    reject(error);
    // A reply that ioredis could not transform for the application is an answer nevertheless.
    if (answered) return;
    if (connection === undefined) observer.unsent?.();
    else if (isAnswerTo(command, error)) observer.refused?.(error, connection, timesWritten > 1);
    else observer.lost?.(connection);
  };
}

/** The server's error at the handshake (a wrong password) rejects all that waits, too. */
function isAnswerTo({ args }: Command, error: Error & { command?: { args: unknown } }): boolean {
  return isReplyError(error) && error.command?.args === args;
}

/**
 * Sends in the command's place what the source refuses too, so that it aborts the transaction that
 * the command may be in, and fails the command with `error`.
 */
export function standIn(command: Command, error: Error): void {
  const { reject } = command;
  command.name = 'echo';
  command.args = [];
  command.reject = () => reject(error);
  command.resolve = command.reject;
}
