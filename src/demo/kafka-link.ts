/** The application's own way to Kafka, which can be cut without anyone else noticing. */
import { connect, type Socket } from 'node:net';
import type { ISocketFactory } from 'kafkajs';

export interface KafkaLink {
  /**
   * For kafkajs. Not a proxy, because whoever connects is led on to the addresses that the brokers
   * advertise.
   */
  readonly socketFactory: ISocketFactory;
  /** Breaks every connection, now and whenever a new one is made, until `restore`. */
  cut(): void;
  restore(): void;
}

export function createKafkaLink(): KafkaLink {
  const sockets = new Set<Socket>();
  let isCut = false;
  return {
    socketFactory({ host, port, onConnect }) {
      const socket = connect({ host, port }, onConnect);
      if (isCut) return socket.destroy(broken());
      sockets.add(socket);
      return socket.once('close', () => sockets.delete(socket));
    },
    cut() {
      isCut = true;
      for (const socket of sockets) socket.destroy(broken());
    },
    restore() {
      isCut = false;
    },
  };
}

/** kafkajs learns of a broken connection by its error alone. */
function broken(): Error {
  return new Error('the connection is cut');
}
