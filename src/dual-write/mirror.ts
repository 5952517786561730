/** The connection to the target: sends each write once, in order, and says for certain what became of it. */
import type { Socket } from 'node:net';
import { Command, type Redis, type RedisOptions, ReplyError } from 'ioredis';
import { agrees, type Replay } from './mirror-plan.js';

/** Why the target does not have a write. `message` holds nothing of the application's data. */
export interface Failure {
  /** `refused`: nothing of it is under way any more. `unknown`: the target may have applied it. */
  readonly outcome: 'refused' | 'unknown';
  readonly error: { readonly code: string; readonly message: string };
}

/**
 * The options that a target client needs, so that a write is sent at most once and never after it was given up:
 * `new Redis(url, mirrorOptions(500))`.
 * @param timeoutMs how long the target may take to answer, for a write and for each step of connecting
 */
export function mirrorOptions(timeoutMs = 1000) {
  return {
    enableOfflineQueue: false,
    autoResendUnfulfilledCommands: false,
    maxRetriesPerRequest: 0,
    commandTimeout: timeoutMs,
    connectTimeout: timeoutMs,
    protocol: 2,
  } as const satisfies RedisOptions;
}

/** @throws Error naming every option of the client that could make a late or double write */
export function assertMirrorOptions(target: Redis): void {
  const { options } = target;
  const problems: [present: boolean, text: string][] = [
    [target.isCluster, 'Cluster (not supported yet)'],
    [options.enableOfflineQueue !== false, 'enableOfflineQueue (must be false)'],
    [options.autoResendUnfulfilledCommands !== false, 'autoResendUnfulfilledCommands (must be false)'],
    [options.maxRetriesPerRequest !== 0, 'maxRetriesPerRequest (must be 0)'],
    [!(Number(options.commandTimeout) > 0), 'commandTimeout (must be set)'],
    [Boolean(options.reconnectOnError), 'reconnectOnError (may resend; must not be set)'],
    [typeof options.retryStrategy !== 'function', 'retryStrategy (must be a function)'],
    [Boolean(options.keyPrefix), 'keyPrefix (set it on the source alone)'],
    [options.readOnly === true, 'readOnly (must be false)'],
  ];
  const unsafe = problems.filter(([present]) => present).map(([, text]) => text);
  if (unsafe.length > 0) {
    throw new Error(`unsafe options of the target client: ${unsafe.join(', ')}; use new Redis(url, mirrorOptions())`);
  }
}

export class Mirror {
  readonly #target: Redis;

  /** @param target a client of its own, made with `mirrorOptions`: a timeout resets its connection */
  constructor(target: Redis) {
    assertMirrorOptions(target);
    this.#target = target;
    // What a broken connection costs is told write by write; without a listener ioredis would print each attempt.
    target.on('error', () => {});
    if (target.status === 'wait') target.connect().catch(() => {});
  }

  /**
   * Sends commands as one unit (several: a transaction), behind all units sent before. Never rejects.
   * @returns undefined when the target did what the source did
   */
  send(unit: readonly Replay[]): Promise<Failure | undefined> {
    const writes = unit.map(({ command, args }) => new MirrorCommand(command, [...args]));
    const commands = unit.length > 1 ? [new MirrorCommand('MULTI'), ...writes, new MirrorCommand('EXEC')] : writes;
    this.#corkForThisTurn();
    // One synchronous stretch: nothing gets between the commands of a unit, and nothing overtakes.
    for (const command of commands) this.#target.sendCommand(command);
    return this.#outcome(unit, commands);
  }

  /** Gives up what is in flight: its outcome becomes `unknown` at once. */
  reset(): void {
    if (this.#target.stream) resetSocket(this.#target.stream);
  }

  /** What one turn of the event loop sends goes out at its end, in one system call and after the callers went on. */
  #corkForThisTurn(): void {
    const { stream } = this.#target;
    if (!stream || stream.writableCorked > 0) return;
    stream.cork();
    setImmediate(() => stream.uncork());
  }

  async #outcome(unit: readonly Replay[], commands: readonly MirrorCommand[]): Promise<Failure | undefined> {
    const answers = await Promise.all(commands.map((command) => this.#answer(command)));
    const failures = answers.flatMap(({ failure }) => failure ?? []);
    if (failures.length > 0) return failures.find(({ outcome }) => outcome === 'unknown') ?? failures[0];
    const last = answers.at(-1)?.reply;
    return compareReplies(unit, unit.length > 1 ? (last as unknown[]) : [last]);
  }

  async #answer(command: MirrorCommand): Promise<{ reply?: unknown; failure?: Failure }> {
    try {
      return { reply: await command.promise };
    } catch (error) {
      if (error instanceof ReplyError) return { failure: replyFailure(error) };
      if (command.sentOn === undefined) return { failure: NOT_SENT };
      if (command.sentOn.destroyed) return { failure: CONNECTION_LOST };
      // Given up, most likely by `commandTimeout`. The bytes may still wait somewhere on the way: only a reset makes sure
      // that they do not land after the repair. It also ends everything sent behind them.
      resetSocket(command.sentOn);
      return { failure: timedOut(this.#target.options.commandTimeout!) };
    }
  }
}

/** Knows whether, and on which connection, it was written. Its upper-case name keeps the reply as it came. */
class MirrorCommand extends Command {
  sentOn: Socket | undefined;

  override toWritable(socket: object): string | Buffer {
    this.sentOn = socket as Socket;
    return super.toWritable(socket);
  }
}

const NOT_SENT: Failure = {
  outcome: 'refused',
  error: { code: 'NOT_CONNECTED', message: 'there was no connection to the target; nothing was sent' },
};

const CONNECTION_LOST: Failure = {
  outcome: 'unknown',
  error: { code: 'CONNECTION_LOST', message: 'the connection to the target broke before it answered' },
};

function timedOut(timeoutMs: number): Failure {
  const message = `the target did not answer within ${timeoutMs} ms; the connection was reset`;
  return { outcome: 'unknown', error: { code: 'TIMEOUT', message } };
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

/** The server said no, so it did nothing. An error's text may quote a value, and ioredis attaches the whole command. */
function replyFailure(error: unknown): Failure {
  const text = (error as Error).message;
  const code = /^[A-Z]+\b/.exec(text)?.[0] ?? 'ERR';
  const message = FIXED_TEXTS.has(code) ? text : `the target answered with the error ${code}`;
  return { outcome: 'refused', error: { code, message } };
}

/** Finds writes that succeeded on one side only, such as SETNX on a key that the target has and the source had not. */
function compareReplies(unit: readonly Replay[], replies: readonly unknown[]): Failure | undefined {
  const error = replies.find((reply) => reply instanceof Error);
  if (error !== undefined) return replyFailure(error);
  if (unit.every((replay, index) => agrees(replay, replies[index]))) return undefined;
  const message = 'the write had an effect on one side only: source and target already differed';
  return { outcome: 'refused', error: { code: 'REPLY_DIFFERS', message } };
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
