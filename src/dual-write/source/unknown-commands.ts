/**
 * Commands that keymend does not know: what they do the source is asked, once, and its answer kept.
 */
import { type Cluster, Command, type Redis } from 'ioredis';
import { knownCommand } from '../../commands/command.js';
import { type DescribedCommand, readDescription } from '../../commands/described.js';
import { within } from '../../patience/within.js';
import { isPipeline, type SendCommand } from './send-command.js';
import { refusalOf } from './write.js';

type Call = Parameters<SendCommand>;

interface UnknownCommandsOptions {
  readonly source: Redis | Cluster;
  /** The source client's own way to send. */
  readonly send: SendCommand;
  /** The writer's. */
  readonly sendObserved: SendCommand;
  readonly refuse: (error: Error, ...call: Call) => unknown;
  /** Whether no transaction is open, which a question would be a part of. */
  readonly mayAsk: () => boolean;
}

export class UnknownCommands {
  readonly #options: UnknownCommandsOptions;
  readonly #described = new Map<string, DescribedCommand>();
  /** Of all that the source has, until it has answered; null: it has. */
  #asking: Promise<unknown> | undefined | null;
  /** What to do once the source has answered, in order: it goes behind the question. */
  #held: (() => void)[] | undefined;
  /** The pipeline of which a part was sent already. */
  #passing: Call[1];

  constructor(options: UnknownCommandsOptions) {
    this.#options = options;
    const { source } = options;
    if (source.status === 'ready') this.#askForAll();
    else source.once('ready', () => this.#askForAll());
  }

  /** What the source has said of a command. */
  readonly describe = (name: string): DescribedCommand | undefined => this.#described.get(name.toUpperCase());

  /**
   * Whether the command was kept back: it is sent when the source has answered. A pipeline waits
   * for the first answer as a whole, for once a part of it is sent nothing can get in between.
   */
  holds(command: Call[0], stream: Call[1], node: Call[2]): boolean {
    if (this.#asking !== null && this.#held === undefined && isPipeline(stream) && stream !== this.#passing) {
      const asking = this.#askForAll();
      if (asking) this.#holdUntil(asking, () => () => {});
      else this.#passing = stream;
    }
    if (this.#held === undefined) return false;
    this.#held.push(() => guarded(this.#options.sendObserved, [command, stream, node]));
    return true;
  }

  /** Does something behind all that is kept back; at once, if that is nothing. */
  async behindHeld(action: () => void): Promise<void> {
    if (this.#held === undefined) action();
    else await new Promise<void>((resolve) => this.#held!.push(() => resolve(action())));
  }

  /** Asks what a command does, and sends it then. */
  ask(...call: Call): unknown {
    const { send, sendObserved, refuse, mayAsk } = this.#options;
    const [{ name, promise }, stream] = call;
    if (isPipeline(stream) || !mayAsk()) {
      // The others of its pipeline or transaction are on their way already.
      setImmediate(() => void (mayAsk() && this.#learn([name]).catch(() => {})));
      return refuse(new Error(refusalOf(name, NOT_HEARD)), ...call);
    }
    this.#holdUntil(this.#learn([name]), (cause) => () => {
      if (cause) guarded((...refused) => refuse(new Error(refusalOf(name, NOT_TOLD), { cause }), ...refused), call);
      // What the source does not have it says itself.
      else guarded(this.describe(name) === undefined ? send : sendObserved, call);
    });
    return promise;
  }

  #holdUntil(answered: Promise<unknown>, first: (error?: unknown) => () => void): void {
    this.#held = [];
    const release = (sendFirst: () => void) => {
      const behind = this.#held!;
      this.#held = undefined;
      sendFirst();
      // One of them may be a question again.
      for (const action of behind) void this.behindHeld(action);
    };
    within(ANSWER_WITHIN_MS, answered).then(
      (late) => release(first(late && new Error(`no answer within ${ANSWER_WITHIN_MS} ms`))),
      (error) => release(first(error)),
    );
  }

  /** Before it is needed. */
  #askForAll(): Promise<unknown> | undefined {
    if (this.#asking === undefined && this.#options.mayAsk()) {
      this.#asking = within(ANSWER_WITHIN_MS, this.#learnAll())
        .catch(() => {})
        .finally(() => {
          this.#asking = null;
        });
    }
    return this.#asking ?? undefined;
  }

  async #learnAll(): Promise<void> {
    // Redis 6 has no such list.
    const names = (await this.#question('LIST').catch(() => undefined)) as string[] | undefined;
    const unknown = names?.filter((name) => !name.includes('|') && knownCommand(name) === undefined);
    if (unknown?.length !== 0 && this.#options.mayAsk()) await this.#learn(unknown);
  }

  /**
   * What the source does not have it may have later, so that is not kept.
   * @param names default: all
   */
  async #learn(names?: readonly string[]): Promise<void> {
    for (const entry of (await this.#question(...(names ? ['INFO', ...names] : []))) as unknown[]) {
      const command = readDescription(entry);
      if (command !== undefined) this.#described.set(command.name, command);
    }
  }

  async #question(...args: string[]): Promise<unknown> {
    return this.#options.send(new Command('COMMAND', args, { replyEncoding: 'utf8' }));
  }
}

/** One that can't be written shall not keep back those behind it. */
function guarded(send: SendCommand, call: Call): void {
  try {
    send(...call);
  } catch (error) {
    call[0].reject(error as Error);
  }
}

/**
 * What is sent behind a question does not wait longer for its answer: with some options ioredis
 * forgets a command with the connection.
 */
const ANSWER_WITHIN_MS = 10_000;

const NOT_HEARD =
  'keymend does not know it and has not heard from the source yet what it does; send it again, or first alone';
const NOT_TOLD = 'keymend does not know it, and the source does not tell what it does (COMMAND INFO failed)';
