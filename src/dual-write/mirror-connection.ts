/** A connection to the target: sends each write once, in order, and says for certain what became of it. */
import type { Socket } from 'node:net';
import type { Command, Redis } from 'ioredis';
import { encodeCommand } from '../redis/index.js';
import { type Done, Flight, isUnreachable } from './flight.js';
import type { Failure } from './mirror.js';
import type { MirroredWrite } from './mirror-answers.js';

export class MirrorConnection {
  readonly #client: Redis;
  readonly #timeoutMs: number;
  /** What ioredis writes a pipeline to. Here the bytes go to the socket in another way: those of many units at once. */
  readonly #nowhere: { isPipeline: true; destination: { redis: Redis }; write(): void };
  /** Handed over in this turn of the event loop. */
  #unsent: Flight[] = [];
  /** Sent, the longest waiting first. */
  readonly #flying = new Set<Flight>();
  #deadline: NodeJS.Timeout | undefined;

  /** @param client one with `mirrorOptions` that nobody else uses: a timeout resets its connection */
  constructor(client: Redis) {
    this.#client = client;
    this.#timeoutMs = client.options.commandTimeout!;
    this.#nowhere = { isPipeline: true, destination: { redis: client }, write() {} };
    // What a broken connection costs is told write by write; without a listener ioredis would print each attempt.
    client.on('error', () => {});
    if (client.status === 'wait') client.connect().catch(() => {});
  }

  /** Sends writes as one unit (several: a transaction), behind all units sent before and with all of this turn. */
  send(unit: readonly MirroredWrite[], done: Done): void {
    if (this.#unsent.length === 0) process.nextTick(() => this.#flush());
    const flight = new Flight(unit, (failure) => {
      this.#flying.delete(flight);
      done(failure);
    });
    this.#unsent.push(flight);
  }

  /** Whether the target answers at all, even if with an error. A connection on which it does not is reset. */
  ping(): Promise<boolean> {
    return new Promise((resolve) => {
      this.send(PING, (failure) => resolve(failure === undefined || !isUnreachable(failure)));
    });
  }

  /** Gives up what is in flight: its outcome becomes `unknown` as soon as the connection is closed. */
  reset(): void {
    if (this.#client.stream) resetSocket(this.#client.stream);
  }

  /** In one synchronous stretch: nothing gets between the commands of a unit, and nothing overtakes. */
  #flush(): void {
    const pieces: Buffer[] = [];
    const sentAt = performance.now();
    for (const flight of this.#unsent.splice(0)) {
      const bytes = encode(flight);
      if (bytes === undefined) {
        flight.fail(NOT_WRITABLE);
        continue;
      }
      flight.sentAt = sentAt;
      this.#flying.add(flight);
      // Without a connection ioredis rejects it at once.
      for (let command = 0; command < flight.commands; command++) {
        this.#client.sendCommand(flight as unknown as Command, this.#nowhere as never);
      }
      if (flight.sentOn !== undefined) pieces.push(bytes);
    }
    if (pieces.length === 0) return;
    this.#client.stream.write(pieces.length === 1 ? pieces[0]! : Buffer.concat(pieces));
    this.#deadline ??= this.#checkAfter(this.#timeoutMs);
  }

  /** One timer for all that is in flight. Alone it is no reason for a process to live on. */
  #checkAfter(delayMs: number): NodeJS.Timeout {
    // Answers that came while the process was busy are read before the check.
    return setTimeout(() => setImmediate(() => this.#check()), delayMs).unref();
  }

  /** Answers come in order, so the oldest is the first that can be late. */
  #check(): void {
    const [oldest] = this.#flying;
    this.#deadline = undefined;
    if (oldest === undefined) return;
    const leftMs = oldest.sentAt + this.#timeoutMs - performance.now();
    if (leftMs > 0) {
      this.#deadline = this.#checkAfter(leftMs);
      return;
    }
    // The bytes may still wait somewhere on the way: only a reset makes sure that they do not land after the repair. It also
    // ends everything sent behind them.
    oldest.timedOutAfterMs = this.#timeoutMs;
    this.reset();
  }
}

/** Any answer to it will do. */
const PING: readonly MirroredWrite[] = [
  { write: { command: 'PING', args: [], keys: [] }, replay: { command: 'PING', args: [] }, reply: Buffer.from('PONG') },
];

const MULTI = encodeCommand(['MULTI']);
const EXEC = encodeCommand(['EXEC']);

/** @returns undefined when there is no memory for so many bytes */
function encode({ unit }: Flight): Buffer | undefined {
  try {
    const writes = unit.map(({ replay: { command, args } }) => encodeCommand([command, ...args]));
    return writes.length === 1 ? writes[0] : Buffer.concat([MULTI, ...writes, EXEC]);
  } catch {
    return undefined;
  }
}

const NOT_WRITABLE: Failure = {
  outcome: 'refused',
  error: {
    code: 'NOT_WRITABLE',
    message: 'the write is too large for the memory of the application; nothing was sent',
  },
};

/**
 * RST: the kernel forgets what it has not sent, and whoever holds bytes on the way must drop them.
 * Node can't do it on TLS and Unix sockets; there, bytes already handed to the kernel may still arrive.
 */
function resetSocket(socket: Socket): void {
  try {
    socket.resetAndDestroy();
  } catch {
    socket.destroy();
  }
}
