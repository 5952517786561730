/** A connection to the target: sends each write once, in order, and says for certain what became of it. */
import { isIP, type Socket } from 'node:net';
import { Command, type Redis, ReplyError } from 'ioredis';
import { isIdempotent } from '../engine/commands.js';
import type { Failure } from './mirror.js';
import { agrees, type RawReply, type Replay } from './mirror-plan.js';
import type { Write } from './write.js';

/** A write of the source on its way to the target. */
export interface MirroredWrite {
  readonly write: Write;
  readonly replay: Replay;
  /** What the source answered. */
  readonly reply: RawReply;
}

export class MirrorConnection {
  readonly #client: Redis;
  /** Of the last attempt to connect, such as `ECONNREFUSED`, `WRONGPASS` or `CERT_HAS_EXPIRED`. */
  #connectError: string | undefined;

  /** @param client one with `mirrorOptions` that nobody else uses: a timeout resets its connection */
  constructor(client: Redis) {
    this.#client = client;
    // What a broken connection costs is told write by write; without a listener ioredis would print each attempt.
    client.on('error', (error: NodeJS.ErrnoException) => {
      this.#connectError = error.code ?? codeOf(error);
      // ioredis ends for good when it hears of a failover (`failoverDetector`) just while it asks for the master.
      setImmediate(() => {
        if (error.message === 'Connection is closed.' && client.status === 'end') client.connect().catch(() => {});
      });
    });
    client.on('ready', () => {
      this.#connectError = undefined;
    });
    if (client.status === 'wait') client.connect().catch(() => {});
  }

  /**
   * Sends writes as one unit (several: a transaction), behind all units sent before. Never rejects.
   * @returns undefined when the target did what the source did
   */
  async send(unit: readonly MirroredWrite[]): Promise<Failure | undefined> {
    const writes = unit.map(({ replay: { command, args } }) => new MirrorCommand(command, [...args]));
    const commands = unit.length > 1 ? [new MirrorCommand('MULTI'), ...writes, new MirrorCommand('EXEC')] : writes;
    this.#corkForThisTurn();
    try {
      // One synchronous stretch: nothing gets between the commands of a unit, and nothing overtakes.
      for (const command of commands) this.#client.sendCommand(command);
    } catch {
      // Too large for a string, for example. Half of a transaction may be written: the connection must not go on with it.
      this.reset();
      return NOT_WRITABLE;
    }
    const answers = await Promise.all(commands.map((command) => this.#answer(command)));
    const failures = answers.flatMap(({ failure }) => failure ?? []);
    if (failures.some(({ error }) => error.code === 'READONLY')) this.#leaveReplica(commands[0]!.sentOn);
    if (failures.length > 0) return failures.find(({ outcome }) => outcome === 'unknown') ?? failures[0];
    const last = answers.at(-1)?.reply;
    return compareReplies(unit, unit.length > 1 ? (last as unknown[]) : [last]);
  }

  /** Whether the target answers at all, even if with an error. A connection on which it does not is reset. */
  async ping(): Promise<boolean> {
    const command = new MirrorCommand('PING');
    this.#client.sendCommand(command);
    const { failure } = await this.#answer(command);
    return failure === undefined || !isUnreachable(failure);
  }

  /** Gives up what is in flight: its outcome becomes `unknown` at once. */
  reset(): void {
    if (this.#client.stream) resetSocket(this.#client.stream);
  }

  /**
   * A demoted master keeps its connections and refuses every write. What has a name, in DNS or among Sentinels, may be another
   * server by now: connect anew. FIN, not RST: what is in flight here is answered first.
   */
  #leaveReplica(connection: Socket | undefined): void {
    const { sentinels, host } = this.#client.options;
    if (connection?.writable && (sentinels || !isIP(host ?? ''))) this.#client.disconnect(true);
  }

  /** What one turn of the event loop sends goes out at its end, in one system call and after the callers went on. */
  #corkForThisTurn(): void {
    const { stream } = this.#client;
    if (!stream || stream.writableCorked > 0) return;
    stream.cork();
    setImmediate(() => stream.uncork());
  }

  async #answer(command: MirrorCommand): Promise<{ reply?: unknown; failure?: Failure }> {
    try {
      return { reply: await command.promise };
    } catch (error) {
      if (error instanceof ReplyError) return { failure: replyFailure(error) };
      if (command.sentOn === undefined) return { failure: notSent(this.#connectError) };
      if (command.sentOn.destroyed) return { failure: CONNECTION_LOST };
      // Given up, most likely by `commandTimeout`. The bytes may still wait somewhere on the way: only a reset makes sure
      // that they do not land after the repair. It also ends everything sent behind them.
      resetSocket(command.sentOn);
      return { failure: timedOut(this.#client.options.commandTimeout!) };
    }
  }
}

/** A command that knows whether, and on which connection, it was written. Its upper-case name keeps the reply as it came. */
class MirrorCommand extends Command {
  sentOn: Socket | undefined;

  override toWritable(socket: object): string | Buffer {
    this.sentOn = socket as Socket;
    return super.toWritable(socket);
  }
}

function notSent(why?: string): Failure {
  const message = `there was no connection to the target${why ? ` (${why})` : ''}; nothing was sent`;
  return { outcome: 'refused', error: { code: 'NOT_CONNECTED', message } };
}

export const NOT_SENT: Failure = notSent();

const NOT_WRITABLE: Failure = {
  outcome: 'unknown',
  error: { code: 'NOT_WRITABLE', message: 'the write could not be written to the target; the connection was reset' },
};

const CONNECTION_LOST: Failure = {
  outcome: 'unknown',
  error: { code: 'CONNECTION_LOST', message: 'the connection to the target broke before it answered' },
};

function timedOut(timeoutMs: number): Failure {
  const message = `the target did not answer within ${timeoutMs} ms; the connection was reset`;
  return { outcome: 'unknown', error: { code: 'TIMEOUT', message } };
}

/** Whether the write failed because there was no answer, as opposed to an answer that says no. */
export function isUnreachable({ error }: Failure): boolean {
  return ['NOT_CONNECTED', 'CONNECTION_LOST', 'TIMEOUT'].includes(error.code);
}

/** Error replies whose text is the server's own and never quotes a command's arguments. */
const FIXED_TEXTS = new Set([
  'READONLY',
  'OOM',
  'LOADING',
  'MISCONF',
  'NOREPLICAS',
  'MASTERDOWN',
  'CLUSTERDOWN',
  'BUSY',
  'NOAUTH',
  'WRONGTYPE',
]);

/** With which an error reply begins. */
function codeOf({ message }: Error): string | undefined {
  return /^[A-Z]+\b/.exec(message)?.[0];
}

/** The server said no, so it did nothing. An error's text may quote a value, and ioredis attaches the whole command. */
function replyFailure(error: unknown): Failure {
  const text = (error as Error).message;
  const code = codeOf(error as Error) ?? 'ERR';
  const message = FIXED_TEXTS.has(code) ? text : `the target answered with the error ${code}`;
  return { outcome: 'refused', error: { code, message } };
}

/**
 * Finds writes that did not do the same on both sides: SETNX on a key that the target has and the source had not, INCR of
 * a counter that lacks an earlier INCR. More may differ then than what this write touched.
 */
function compareReplies(unit: readonly MirroredWrite[], replies: readonly unknown[]): Failure | undefined {
  const error = replies.find((reply) => reply instanceof Error);
  if (error !== undefined) return replyFailure(error);
  if (unit.every((mirrored, index) => didTheSame(mirrored, replies[index]))) return undefined;
  const message = 'the write did not do the same on both sides: source and target already differed';
  return { outcome: 'unknown', error: { code: 'REPLY_DIFFERS', message }, scope: 'whole' };
}

function didTheSame({ write, replay, reply }: MirroredWrite, answer: unknown): boolean {
  if (!agrees(replay, answer)) return false;
  // Mirrored by its effect, it has another reply.
  const asItWas = replay.command === write.command && replay.args.every((argument, at) => argument === write.args[at]);
  return !asItWas || isIdempotent(write.command) || isSameReply(reply, answer);
}

/** Of two kinds (the clients may speak different protocols) tells nothing, so it counts as the same. */
function isSameReply(source: RawReply, target: RawReply): boolean {
  if (Buffer.isBuffer(source) && Buffer.isBuffer(target)) return source.equals(target);
  if (Array.isArray(source) && Array.isArray(target)) {
    return source.length === target.length && source.every((part, index) => isSameReply(part, target[index]));
  }
  return typeof source !== 'number' || typeof target !== 'number' || source === target;
}

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
