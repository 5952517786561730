/** Follows one command of ioredis from when it is written to its end. */
import { type Command, ReplyError } from 'ioredis';
import type { RawReply } from '../target/replay.js';

export interface Observer {
  /**
   * The application gets the reply when the promise resolves, or the error it rejects with; without
   * a promise at once.
   */
  answered(reply: RawReply, resent: boolean): Promise<void> | undefined;
  /** The source answered with an error. */
  refused?(error: Error): void;
  /** Written, but given up without an answer. An answer may still come. */
  lost?(): void;
  /** Given up before it was written. It may still be sent. */
  unsent?(): void;
}

/** Its `resolve` and `reject` are called by the parser itself, so in the order of the replies. */
export function observe(command: Command, observer: Observer): void {
  const { resolve, reject, toWritable } = command;
  let timesWritten = 0;
  let answered = false;
  let held = false;
  command.toWritable = (socket) => {
    timesWritten += 1;
    return toWritable.call(command, socket);
  };
  command.resolve = (reply) => {
    answered = true;
    const settled = observer.answered(reply, timesWritten > 1);
    if (!settled) return resolve(reply);
    held = true;
    const release = () => {
      held = false;
    };
    settled.finally(release).then(() => resolve(reply), reject);
  };
  command.reject = (error) => {
    // The client's `commandTimeout` is for the source, which has answered.
    if (held) return;
    reject(error);
    // A reply that ioredis could not transform for the application is an answer nevertheless.
    if (answered) return;
    if (error instanceof ReplyError) observer.refused?.(error);
    else if (timesWritten > 0) observer.lost?.();
    else observer.unsent?.();
  };
}

/** Sends something harmless in the command's place and fails the command with `error`. */
export function standIn(command: Command, name: string, error: Error): void {
  command.name = name;
  command.args = [];
  command.resolve = () => command.reject(error);
}
