/** Readers that wait until somebody else has filled a key. They are told; nobody polls. */
import type { Cluster, Redis } from 'ioredis';

interface Waiting {
  /** Resolves once what is told from here on is heard. */
  readonly listening: Promise<unknown>;
  /** Resolves when the lease has ended. */
  readonly told: Promise<void>;
  leave(): void;
}

interface Room {
  /** That of the last SUBSCRIBE. */
  listening: Promise<unknown>;
  isHeard: boolean;
  readonly wake: Set<() => void>;
}

export class WaitingReaders {
  readonly #subscriber: Redis | Cluster;
  readonly #rooms = new Map<string, Room>();

  /** @param subscriber for nothing else; closed by `close` */
  constructor(subscriber: Redis | Cluster) {
    this.#subscriber = subscriber;
    subscriber.on('messageBuffer', (channel: Buffer) => {
      for (const wake of this.#rooms.get(channel.toString('latin1'))?.wake ?? []) wake();
    });
    // Who waits looks again by itself when the lease must have ended.
    subscriber.on('error', () => {});
  }

  /** @param channel as `Leases.channelOf` */
  join(channel: Buffer): Waiting {
    const name = channel.toString('latin1');
    let room = this.#rooms.get(name);
    if (room === undefined) {
      room = { listening: Promise.resolve(), isHeard: false, wake: new Set() };
      this.#rooms.set(name, room);
      this.#listen(room, channel);
    }
    const { listening, wake } = room;
    let call = () => {};
    const told = new Promise<void>((resolve) => {
      call = resolve;
    });
    wake.add(call);
    const leave = () => {
      wake.delete(call);
      // A client may never say what became of SUBSCRIBE: who comes behind the first that gave it up
      // waits for another one. Those that still wait for it may yet have their answer.
      if (wake.size > 0 && !room.isHeard && room.listening === listening) this.#listen(room, channel);
      if (wake.size > 0) return;
      this.#rooms.delete(name);
      // A room that is opened again meanwhile subscribes behind this, on the same connection.
      this.#subscriber.unsubscribe(channel as unknown as string).catch(() => {});
    };
    return { listening, told, leave };
  }

  #listen(room: Room, channel: Buffer): void {
    room.listening = this.#subscriber.subscribe(channel as unknown as string);
    const hear = () => {
      room.isHeard = true;
    };
    room.listening.then(hear, () => {});
  }

  close(): void {
    this.#subscriber.disconnect();
  }
}
