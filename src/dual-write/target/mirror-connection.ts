/**
 * A connection to the target: sends each write once, in order, and says for certain what became of
 * it.
 */
import { isIP, type Socket } from 'node:net';
import type { Command, Redis } from 'ioredis';
import { pauseAfter } from '../../patience/pause.js';
import { encodeCommands, expectFurtherErrors, outliveSentinels } from '../../redis/index.js';
import { connectAfterDetectedFailover } from '../failover.js';
import { type Departure, type Done, Flight, isUnreachable, type Line } from './flight.js';
import { Lifetimes } from './lifetimes.js';
import { checksOf, type MarkCheck } from './mark-check.js';
import type { Marks } from './marks.js';
import { errorCode, type MirroredWrite } from './mirror-answers.js';
import { Progress } from './progress.js';
import { leaving, type Replay } from './replay.js';
import { TargetClock } from './target-clock.js';
import { UsualWay } from './usual-way.js';

/** An error of the network, or a reply to a command of the handshake. */
interface ConnectError extends NodeJS.ErrnoException {
  readonly command?: { readonly name: string };
}

interface MirrorConnectionOptions {
  readonly isSource: (client: Redis) => boolean;
  readonly marks: Marks;
  readonly isOfCluster: boolean;
}

export class MirrorConnection {
  readonly #client: Redis;
  readonly #timeoutMs: number;
  /**
   * In the place of what ioredis writes a pipeline to. The bytes of many units go to the socket at
   * once, in another way.
   */
  readonly #nowhere: { isPipeline: true; destination: { redis: Redis }; write(): void };
  /** What was handed over in this turn of the event loop. */
  #boarding: { flights: Flight[]; departure: Departure } | undefined;
  /** With flights under way, the oldest first. */
  readonly #departures: Departure[] = [];
  /** Of all in the list. */
  #bytes = 0;
  readonly #progress: Progress;
  #deadline: NodeJS.Timeout | undefined;
  readonly #line: Line = {
    connectError: undefined,
    isReadOnly: (socket) => this.#leaveReplica(socket),
    isWritable: () => {
      this.#replicasLeft = 0;
    },
    way: new UsualWay(),
    clock: new TargetClock(),
    lifetimes: new Lifetimes(),
  };
  /** Before it, in `performance.now()`, no replica is left again. */
  #stayUntil = Number.NEGATIVE_INFINITY;
  /** In a row, without a write in between that succeeded. */
  #replicasLeft = 0;
  readonly #isSource: (client: Redis) => boolean;
  readonly #marks: Marks;
  readonly #isOfCluster: boolean;

  /**
   * @param client one with `mirrorOptions` that nobody else uses: a timeout resets its connection
   * @param isSource whether a client's present connection ends at the source
   * @param isOfCluster whether it leads to a node of a Cluster
   */
  constructor(client: Redis, { isSource, marks, isOfCluster }: MirrorConnectionOptions) {
    this.#client = client;
    this.#isSource = isSource;
    this.#marks = marks;
    this.#isOfCluster = isOfCluster;
    this.#timeoutMs = client.options.commandTimeout!;
    this.#progress = new Progress(this.#timeoutMs);
    this.#nowhere = { isPipeline: true, destination: { redis: client }, write() {} };
    // Each write is told what a broken connection meant for it. Without a listener ioredis would
    // print each attempt to connect.
    expectFurtherErrors(client);
    outliveSentinels(client);
    client.on('error', (error: ConnectError) => {
      const code = error.code ?? errorCode(error);
      if (error.command?.name === 'select') this.#leaveWrongDatabase(code);
      // An error without a code follows from an earlier one, which says more.
      else this.#line.connectError = code ?? this.#line.connectError;
    });
    connectAfterDetectedFailover(client);
    client.on('ready', () => {
      // Without the ready check ioredis takes a connection for ready that was just left.
      if (client.stream.writable) this.#line.connectError = undefined;
    });
    if (client.status === 'wait') client.connect().catch(() => {});
    // If its SELECT was refused before somebody listened, it is in the wrong database.
    else if (client.status !== 'connecting' && client.options.db) this.reset();
  }

  /**
   * Sends writes as one unit (several: a transaction), behind all units sent before and with all of
   * this turn.
   */
  send(unit: readonly MirroredWrite[], done: Done): void {
    this.#boarding ??= this.#nextDeparture();
    const { flights, departure } = this.#boarding;
    departure.flying += 1;
    flights.push(new Flight(unit, departure, done));
  }

  /**
   * Whether the target answers at all, even if with an error. A connection on which it does not is
   * reset.
   */
  ping(): Promise<boolean> {
    return new Promise((resolve) => {
      this.send(PING, (failure) => resolve(failure === undefined || !isUnreachable(failure)));
    });
  }

  /**
   * Gives up what is in flight: its outcome becomes `unknown` as soon as the connection is closed.
   */
  reset(): void {
    if (this.#client.stream) resetSocket(this.#client.stream);
  }

  /**
   * A demoted master keeps its connections and refuses every write. Behind its name, in DNS or
   * among Sentinels, there may be another server by now, so the client connects anew. It ends this
   * connection with FIN, not RST: what is in flight on it is answered first.
   *
   * Where the name leads to a replica again and again, not each of its answers shall cost a
   * connection: the pauses grow.
   */
  #leaveReplica(socket: Socket | undefined): void {
    const { sentinels, host } = this.#client.options;
    // Not writable: it is being left already, and what is connected now may be its successor.
    if (!socket?.writable || (!sentinels && isIP(host ?? ''))) return;
    if (performance.now() < this.#stayUntil) return;
    this.#replicasLeft += 1;
    this.#stayUntil = performance.now() + pauseAfter(this.#replicasLeft, REPLICA_PAUSES);
    this.#client.disconnect(true);
  }

  /**
   * When a SELECT is refused, ioredis only emits an error and goes on in database 0, which has
   * other keys. The error comes before the connection is ready, so nothing was sent on it yet.
   */
  #leaveWrongDatabase(code = 'ERR'): void {
    this.#line.connectError = `SELECT: ${code}`;
    this.reset();
  }

  /** Two names can lead to one server, where each write would be done twice. */
  #leaveSource(): void {
    if (!this.#client.stream?.writable || !this.#isSource(this.#client)) return;
    this.#line.connectError = 'it is the source';
    this.reset();
  }

  #nextDeparture(): { flights: Flight[]; departure: Departure } {
    process.nextTick(() => this.#depart());
    return { flights: [], departure: { at: performance.now(), flying: 0, bytes: 0, line: this.#line } };
  }

  /**
   * In one synchronous stretch: nothing gets between the commands of a unit, and nothing overtakes.
   */
  #depart(): void {
    const { flights, departure } = this.#boarding!;
    this.#boarding = undefined;
    this.#leaveSource();
    for (const flight of flights) {
      // Without a connection ioredis rejects it at once.
      for (let command = 0; command < flight.commands; command++) {
        this.#client.sendCommand(flight as unknown as Command, this.#nowhere as never);
      }
    }
    if (departure.flying === 0) return;
    const checks = this.#leaveMarks(flights);
    const { stream } = this.#client;
    this.#oldest();
    this.#departures.push(departure);
    if (this.#deadline === undefined) {
      // What moved before says nothing of this departure.
      this.#progress.look(stream, departure.at);
      this.#deadline = this.#checkAfter(this.#progress.lookEveryMs);
    }
    try {
      const bytes = encodeCommands([
        ...commandsOf(flights, performance.now() + this.#line.way.ms),
        ...checks.map(({ command }) => command),
      ]);
      departure.bytes = bytes.length;
      this.#bytes += bytes.length;
      stream.write(bytes);
    } catch {
      // No memory for so many bytes. ioredis waits for answers that will never come: the connection
      // must not go on.
      this.reset();
    }
  }

  /** Behind the writes: whoever meets our mark meets what they have written. */
  #leaveMarks(flights: readonly Flight[]): MarkCheck[] {
    const sent = flights.filter(({ unit, sentOn }) => sentOn !== undefined && unit !== PING);
    if (!this.#marks.areLeft()) {
      for (const { unit } of sent) this.#marks.unmarked += unit.length;
      return [];
    }
    const checks = checksOf(this.#marks, sent, this.#isOfCluster);
    for (const check of checks) this.#client.sendCommand(check as unknown as Command, this.#nowhere as never);
    return checks;
  }

  /** One timer for all that is in flight. Alone it is no reason for a process to live on. */
  #checkAfter(delayMs: number): NodeJS.Timeout {
    // Answers that came while the process was busy shall be read before the check.
    return setTimeout(() => setImmediate(() => this.#check()), delayMs).unref();
  }

  /** Of those with flights under way. Forgets those before. */
  #oldest(): Departure | undefined {
    while (this.#departures[0]?.flying === 0) this.#bytes -= this.#departures.shift()!.bytes;
    return this.#departures[0];
  }

  /** Answers come in order, so the oldest is the first that can be late. */
  #check(): void {
    this.#deadline = undefined;
    const oldest = this.#oldest();
    if (oldest === undefined) return;
    const now = performance.now();
    this.#progress.look(this.#client.stream, now);
    const leftMs = this.#progress.deadline(oldest.at, this.#bytes) - now;
    if (leftMs > 0) {
      this.#deadline = this.#checkAfter(Math.min(leftMs, this.#progress.lookEveryMs));
      return;
    }
    // Its bytes may still wait somewhere on the way. Only a reset makes sure that they do not land
    // after the repair. It also ends everything that was sent behind them.
    oldest.timedOutAfterMs = this.#timeoutMs;
    this.reset();
  }
}

/** How long to stay with a replica that was found again. */
const REPLICA_PAUSES = { firstMs: 1000, longestMs: 30_000 };

/** Any answer to it will do. */
const PING: readonly MirroredWrite[] = [
  {
    write: { command: 'PING', args: [], keys: [] },
    replay: { command: 'PING', args: [] },
    reply: Buffer.from('PONG'),
    sinceMs: 0,
    repliedMs: 0,
    heldMs: 0,
  },
];

const MULTI = { command: 'MULTI', args: [] };
const EXEC = { command: 'EXEC', args: [] };

/**
 * What those flights are that ioredis took.
 * @param arrivingMs when they will be at the target, in `performance.now()`
 */
function commandsOf(flights: readonly Flight[], arrivingMs: number): Replay[] {
  const commands: Replay[] = [];
  for (const { unit, sentOn } of flights) {
    if (sentOn === undefined) continue;
    if (unit.length > 1) commands.push(MULTI);
    for (const { replay, repliedMs } of unit) commands.push(leaving(replay, arrivingMs - repliedMs));
    if (unit.length > 1) commands.push(EXEC);
  }
  return commands;
}

/**
 * RST: the kernel forgets what it has not sent, and whoever holds bytes on the way must drop them.
 * Node can't do it on TLS and Unix sockets; there, bytes already handed to the kernel may still
 * arrive.
 */
function resetSocket(socket: Socket): void {
  try {
    socket.resetAndDestroy();
  } catch {
    socket.destroy();
  }
}
