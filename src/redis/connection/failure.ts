/**
 * Errors of Redis and of its client, made safe: a code to decide by and a text without anything a
 * user stored.
 */

export interface RefusedCommand {
  /** Upper case, with its subcommand: `RESTORE`, `MEMORY USAGE`. */
  readonly command?: string | undefined;
  /** It named a key of ours, or one of the application's. */
  readonly onOwnKey?: boolean;
  /** The script that called it had written the key before. */
  readonly hasWritten?: boolean;
}

interface FailureOptions extends ErrorOptions {
  readonly place?: string;
  readonly refused?: RefusedCommand;
  readonly errno?: string | undefined;
}

/**
 * `code` is that of Redis (`READONLY`, `OOM`, `ERR`, …), or one of our own:
 * - `TIMEOUT`: no answer in time. The connection was reset; whether the command was executed is
 *   unknown.
 * - `CONNECTION`: no connection, or it broke before the answer. Whether a command that had been
 *   sent was executed is unknown.
 * - `NOTMASTER`: read at a server that is not a master.
 * - `DEMOTED`: asked a server that was the master once; Sentinels or the Cluster lead to the next
 *   one.
 * - `OTHERSERVER`: it was for another server than the one that would answer now; it was not sent.
 * - `LATE`: a write came when its time had passed; nothing was done, and the message goes on behind
 *   the name of the server.
 * - `NORECIPE`: no commands build a value of this type.
 * - `TOOBIG`: an argument is longer than the server takes; the command was not executed.
 * - `INCOMPARABLE`: two dumps of one value differ, and nothing else is known of its type.
 * - `LARGEDUMP`: a value of a type that can only be dumped is too large for that.
 * - `TOOLONG`: a value has a part too long for any script to write; other commands can.
 * - `NOFIELDEXPIRY`: a field is to expire on a server that can't let single fields expire.
 * - `ONEPIECE`: a value lies in one piece that is too large to be read without holding the server
 *   for long.
 * - `MANYGROUPS`: a stream has more groups and consumers than can be read at once.
 * - `SAME`: source and target are one.
 * - `NOMAPPING`, `MAPPING`, `SEVERALROWS`, `ROWTOOLARGE`: of a source that is a database; the
 *   message goes on behind its name. `NOTREDIS`: it was asked for what only a Redis has.
 */
export class RedisFailure extends Error {
  override readonly name = 'RedisFailure';
  /** Of several servers the one that failed: its name and address. */
  readonly place: string | undefined;
  /** The command that was refused, as far as is known. */
  readonly refused: RefusedCommand;
  /** Of a connection: the operating system's or TLS's word for it, where there is one. */
  readonly errno: string | undefined;
  /**
   * @param code the first word of Redis' error, or one of our own
   * @param message a text for a person, safe to log
   */
  constructor(
    readonly code: string,
    message: string,
    { place, refused, errno, ...options }: FailureOptions = {},
  ) {
    super(message, options);
    this.place = place;
    this.errno = errno;
    this.refused = refused ?? {};
  }
}

/** The same failure with the server that it is of, for which there are several. */
export function failureAt(failure: RedisFailure, place: string): RedisFailure {
  const { code, message, refused, errno } = failure;
  return new RedisFailure(code, message, { cause: failure, place, refused, errno });
}

/** In place of a word of TLS: files that are needed to connect can't be used. */
export const OF_FILES = 'EFILES';

/**
 * The failure that an error of ioredis stands for. The error itself is dropped, for it carries the
 * command with its arguments; its stack is kept.
 * @param refused what was sent
 */
export function failureOf(error: unknown, refused: RefusedCommand = {}): RedisFailure {
  if (error instanceof RedisFailure) return error;
  const failure = classify(error instanceof Error ? error : new Error(String(error)), refused);
  if (error instanceof Error && error.stack !== undefined) {
    failure.stack = `${failure.name}: ${failure.message}\n${error.stack.split('\n').filter(isFrame).join('\n')}`;
  }
  return failure;
}

/**
 * The failure that an error text of Redis stands for, as a reply or as caught inside a script.
 * @param refused the command, for texts that do not name it
 */
export function failureOfReply(text: string, refused: RefusedCommand = {}): RedisFailure {
  // Redis before 7 puts "@user_script: 12: -" in front of what a command said inside a script.
  const plain = text.replace(/^@user_script:\s*\d+:\s*/, '').replace(/^-/, '');
  const named = /\bthe '([a-z]+(?:\|[a-z]+)?)' command/.exec(plain)?.[1];
  const command = named?.replace('|', ' ').toUpperCase() ?? refused.command;
  return new RedisFailure(codeOf(plain), withoutData(plain), { refused: { ...refused, command } });
}

/**
 * Inside a script or a transaction a missing permission has no code of its own, nor has what a
 * managed service lets nobody do.
 */
const NOT_PERMITTED =
  /user executing the script can't|no permissions to (run|access)|command is not (allowed|available)|not support for normal user/i;

function codeOf(text: string): string {
  if (NOT_PERMITTED.test(text)) return 'NOPERM';
  // Nor have these, and a script says neither MOVED nor ASK nor TRYAGAIN apart: the key's slot is
  // elsewhere, or is being moved.
  if (/attempted to access a non local key/i.test(text)) return 'MOVED';
  if (/attempted to execute a .*cluster is down/i.test(text)) return 'CLUSTERDOWN';
  if (/invalid bulk length|exceeds maximum allowed size/i.test(text)) return 'TOOBIG';
  return /^[A-Z]{2,}(?=\s|$)/.exec(text)?.[0] ?? 'ERR';
}

/**
 * A text of Redis without what it may quote: names and arguments of commands, keys. It quotes them
 * in quotes, or after "beginning with".
 */
function withoutData(text: string): string {
  return text
    .replace(/[\x00-\x1f\x7f-\uffff]+/g, ' ')
    .replace(/,? with args beginning with.*$/, '')
    .replace(/(['"`]).*\1/g, '…')
    .replace(/\s+script: [0-9a-f]{40}.*$/, '')
    .trim()
    .slice(0, 160);
}

/** By its own word, not by its class: an application may bring its own copy of ioredis. */
export function isReplyError(error: unknown): error is Error {
  return error instanceof Error && error.name === 'ReplyError';
}

function classify(error: Error, refused: RefusedCommand): RedisFailure {
  if (error.message === 'Command timed out') return new RedisFailure('TIMEOUT', 'no answer in time');
  if (isReplyError(error)) return failureOfReply(error.message, refused);
  const { code: errno } = error as NodeJS.ErrnoException;
  if (typeof errno !== 'string') return new RedisFailure('CONNECTION', 'the connection was closed');
  return new RedisFailure('CONNECTION', describeErrno(errno), { errno });
}

function describeErrno(code: string): string {
  const known: Record<string, string> = {
    ECONNREFUSED: 'nothing listens there',
    ENOTFOUND: 'the host name is not known',
    EAI_AGAIN: 'the host name cannot be looked up now',
    ETIMEDOUT: 'no answer to the attempt to connect',
    ECONNRESET: 'the connection was reset',
    EHOSTUNREACH: 'the host cannot be reached',
    ENOENT: 'there is no such socket',
  };
  return known[code] === undefined ? code : `${known[code]} (${code})`;
}

function isFrame(line: string): boolean {
  return /^\s+at /.test(line);
}
