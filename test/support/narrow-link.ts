/**
 * A link that carries so many bytes a second to the server and no more, as a network does: a sender
 * that is faster has to wait until its bytes are taken.
 */
import { type AddressInfo, connect, createServer, type Socket } from 'node:net';

export interface NarrowLink {
  readonly port: number;
  /** Bytes that it has carried to the server. */
  readonly carried: number;
  close(): void;
}

export async function startNarrowLink(serverPort: number, bytesPerSecond: number): Promise<NarrowLink> {
  const sockets: Socket[] = [];
  let carried = 0;
  const link = createServer((client) => {
    const upstream = connect(serverPort, '127.0.0.1');
    sockets.push(client, upstream);
    for (const socket of [client, upstream]) socket.on('error', () => {});
    client.on('close', () => upstream.destroy());
    upstream.on('close', () => client.destroy());
    let freeAt = performance.now();
    client.on('data', (bytes) => {
      carried += bytes.length;
      upstream.write(bytes);
      freeAt = Math.max(freeAt, performance.now()) + (bytes.length / bytesPerSecond) * 1000;
      const waitMs = freeAt - performance.now();
      if (waitMs < 1) return;
      client.pause();
      setTimeout(() => client.resume(), waitMs);
    });
    upstream.on('data', (bytes) => client.write(bytes));
  });
  await new Promise<void>((resolve) => link.listen(0, '127.0.0.1', resolve));
  return {
    port: (link.address() as AddressInfo).port,
    get carried() {
      return carried;
    },
    close() {
      for (const socket of sockets) socket.destroy();
      link.close();
    },
  };
}
