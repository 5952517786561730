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
  readonly listening: Promise<unknown>;
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
      const listening = this.#subscriber.subscribe(channel as unknown as string);
      const opened: Room = { listening, isHeard: false, wake: new Set() };
      const hear = () => {
        opened.isHeard = true;
      };
      listening.then(hear, () => {});
      this.#rooms.set(name, opened);
      room = opened;
    }
    const { listening, wake } = room;
    let call = () => {};
    const told = new Promise<void>((resolve) => {
      call = resolve;
    });
    wake.add(call);
    const leave = () => {
      wake.delete(call);
      // A client may never say what became of SUBSCRIBE: behind who gave it up nobody waits for it.
      if ((wake.size > 0 && room.isHeard) || this.#rooms.get(name) !== room) return;
      this.#rooms.delete(name);
      // A room that is opened again meanwhile subscribes behind this, on the same connection.
      this.#subscriber.unsubscribe(channel as unknown as string).catch(() => {});
    };
    return { listening, told, leave };
  }

  close(): void {
    this.#subscriber.disconnect();
  }
}
