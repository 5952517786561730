/**
 * Sends commands of the writer's own right in front of one of the application's, which does not
 * notice.
 */
import type { Cluster, Command, Redis } from 'ioredis';
import { corkForThisTurn } from './cork.js';

/**
 * A command to go in front of a write, on the same connection: so the source carries it out first,
 * or neither.
 */
export interface Announcement {
  readonly command: Command;
  /** The source has carried it out, in a transaction with EXEC. An error is a reply too. */
  answered(reply: unknown): void;
}

type Send = (command: Command, stream?: never) => unknown;

/** What ioredis collects the bytes of a pipeline in. */
export interface PipelineStream {
  readonly isPipeline: true;
  readonly destination: unknown;
  /** Counts: to be called once for each command of the application. */
  write(bytes: string | Buffer): void;
}

/** How many commands of a pipeline were sent, ours included. */
const sentOf = new WeakMap<PipelineStream, number>();

/**
 * Sends `ahead` and then `command`, as one piece.
 * @param send that of the client itself
 * @param stream of the pipeline that the command is part of
 */
export function sendAnnounced(
  client: Redis | Cluster,
  send: Send,
  { ahead, command, stream }: { ahead: readonly Command[]; command: Command; stream: PipelineStream | undefined },
): unknown {
  for (const own of ahead) own.inTransaction = command.inTransaction;
  if (stream === undefined) {
    corkForThisTurn(client);
    for (const own of ahead) send(own);
    return send(command);
  }
  // A pipeline writes once it was given bytes as often as it has commands. It does not count ours,
  // so their bytes come together with those of the write.
  const held: (string | Buffer)[] = [];
  const holding = {
    isPipeline: true,
    destination: stream.destination,
    write: (bytes: string | Buffer) => held.push(bytes),
  };
  const { toWritable } = command;
  command.toWritable = (socket) => joined([...held.splice(0), toWritable.call(command, socket)]);
  for (const own of ahead) {
    number(own, stream);
    send(own, holding as never);
  }
  number(command, stream);
  return send(command, stream as never);
}

/**
 * After a lost connection ioredis sends a pipeline again only if it finds it complete: numbered
 * from 0 without a gap.
 */
export function number(command: Command, stream: PipelineStream): void {
  const index = sentOf.get(stream) ?? 0;
  sentOf.set(stream, index + 1);
  command.pipelineIndex = index;
}

function joined(parts: readonly (string | Buffer)[]): string | Buffer {
  if (parts.every((part) => typeof part === 'string')) return parts.join('');
  return Buffer.concat(parts.map((part) => (typeof part === 'string' ? Buffer.from(part) : part)));
}
