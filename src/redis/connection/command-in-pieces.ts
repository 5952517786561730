/** A command with one argument that is sent piece by piece, as it comes. */
import type { Socket } from 'node:net';
import { Command, type Redis } from 'ioredis';
import { failureOf, RedisFailure } from './failure.js';

export interface CommandInPieces {
  /** Its name and the arguments in front of the large one. */
  readonly head: readonly (Buffer | string)[];
  /** Bytes of the large argument. */
  readonly bytes: number;
  /** The large argument. */
  readonly pieces: AsyncIterable<Buffer>;
  /** The arguments behind it. */
  readonly tail: readonly (Buffer | string)[];
}

/**
 * Sends it over a client on which nothing else is sent meanwhile. When it ends in any other way
 * than with a reply, the connection is in the midst of a command: the caller must reset it.
 * @param silenceMs how long the server may take no byte and give no answer. Not counted: the time
 *   until a piece comes
 * @returns the reply; a failure with the code `TIMEOUT` after that silence
 * @throws what `pieces` threw; an Error when they are not as many bytes as was said
 */
export async function sendInPieces(
  client: Redis,
  { head, bytes, pieces, tail }: CommandInPieces,
  silenceMs: number,
): Promise<unknown> {
  const command = new Command(String(head[0]), [], { replyEncoding: null });
  const begin = Buffer.concat([
    Buffer.from(`*${head.length + 1 + tail.length}\r\n`),
    ...head.map(argument),
    Buffer.from(`$${bytes}\r\n`),
  ]);
  // ioredis writes what this returns, and counts the time of a whole command where only silence may
  // be counted.
  command.toWritable = () => begin;
  command.setTimeout = () => {};
  let settled = false;
  const reply: Promise<unknown> = (client.sendCommand(command) as Promise<unknown>).catch(failureOf).finally(() => {
    settled = true;
  });
  const socket = client.stream as Socket;

  let left = bytes;
  for await (const piece of pieces) {
    // A refusal, or the end of the connection.
    if (settled) return reply;
    left -= piece.length;
    if (left < 0) throw new Error('the pieces are more than was said');
    if (!socket.write(piece)) {
      const silent = await isSilent(Promise.race([reply, drained(socket)]), silenceMs);
      if (silent) return new RedisFailure('TIMEOUT', 'no byte was taken in time');
    }
  }
  if (left > 0) throw new Error('the pieces are less than was said');
  socket.write(Buffer.concat([Buffer.from('\r\n'), ...tail.map(argument)]));
  const silent = await isSilent(reply, silenceMs);
  return silent ? new RedisFailure('TIMEOUT', 'no answer in time') : reply;
}

function argument(value: Buffer | string): Buffer {
  const bytes = Buffer.from(value as string);
  return Buffer.concat([Buffer.from(`$${bytes.length}\r\n`), bytes, Buffer.from('\r\n')]);
}

function drained(socket: Socket): Promise<void> {
  return new Promise((resolve) => {
    socket.once('drain', resolve);
  });
}

async function isSilent(sign: Promise<unknown>, withinMs: number): Promise<boolean> {
  let timer: NodeJS.Timeout | undefined;
  const silence = new Promise<boolean>((resolve) => {
    timer = setTimeout(resolve, withinMs, true);
  });
  try {
    return await Promise.race([silence, sign.then(() => false)]);
  } finally {
    clearTimeout(timer);
  }
}
