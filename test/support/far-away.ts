/** A way to a server on which all that passes arrives so much later, in either direction. */
import { type AddressInfo, connect, createServer, type Socket } from 'node:net';

export interface FarAway {
  readonly port: number;
  close(): void;
}

export async function startFarAway(serverPort: number, delayMs: number): Promise<FarAway> {
  const sockets: Socket[] = [];
  const forward = (from: Socket, to: Socket) => {
    sockets.push(from);
    from.on('data', (bytes) => setTimeout(() => to.writable && to.write(bytes), delayMs));
    from.on('error', () => {});
    from.on('close', () => to.destroy());
  };
  const way = createServer({ noDelay: true }, (client) => {
    const upstream = connect({ port: serverPort, host: '127.0.0.1', noDelay: true });
    forward(client, upstream);
    forward(upstream, client);
  });
  await new Promise<void>((resolve) => way.listen(0, '127.0.0.1', resolve));
  return {
    port: (way.address() as AddressInfo).port,
    close() {
      for (const socket of sockets) socket.destroy();
      way.close();
    },
  };
}
