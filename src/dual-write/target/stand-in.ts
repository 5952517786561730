/**
 * What stands in the queue of ioredis until a command that we have sent ourselves is answered. It
 * is no `Command`: each of those has a promise and a timer of its own, and the application would
 * pay for them with every write.
 */
import type { Socket } from 'node:net';
import type { Command } from 'ioredis';

/** All that ioredis asks of a command that it sends. */
type SentCommand = Pick<
  Command,
  'name' | 'args' | 'isTraced' | 'resolve' | 'reject' | 'toWritable' | 'setTimeout' | 'setReplyContext'
>;

export abstract class StandIn implements SentCommand {
  readonly name = 'mirrored';
  /** None: ioredis hangs them on errors, and they are the application's data. */
  readonly args: never[] = [];
  /** By nobody: it is not a command of the application. */
  readonly isTraced = true;
  /** Undefined: ioredis did not take it, so nothing of it is under way. */
  sentOn: Socket | undefined;

  // These two are functions of their own, not methods: what traces ioredis calls them without
  // `this`.
  abstract resolve: (reply: unknown) => void;
  abstract reject: (error: unknown) => void;

  /** The connection writes the bytes itself, of many units at once. */
  toWritable(socket: object): string {
    this.sentOn = socket as Socket;
    return '';
  }

  /** The connection has one timer for all. */
  setTimeout(): void {}

  /** Replies are taken as they come. */
  setReplyContext(): void {}
}
