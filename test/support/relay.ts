/** A relay whose bytes arrive although their sender has long given up: what a network can do, and no reset takes back. */
import { type AddressInfo, connect, createServer, type Socket } from 'node:net';

export interface Relay {
  readonly port: number;
  /** From the next piece of data on that has this text, nothing reaches the server until `deliver`. */
  holdFrom(text: string): void;
  deliver(): void;
  close(): void;
}

export async function startRelay(serverPort: number): Promise<Relay> {
  let trigger: string | null = null;
  let holding = false;
  const held: (() => void)[] = [];
  const sockets: Socket[] = [];
  const relay = createServer((client) => {
    const upstream = connect(serverPort, '127.0.0.1');
    sockets.push(client, upstream);
    for (const socket of [client, upstream]) socket.on('error', () => {});
    client.on('data', (bytes) => {
      holding ||= trigger !== null && bytes.includes(trigger);
      if (holding) held.push(() => upstream.write(bytes));
      else upstream.write(bytes);
    });
    upstream.on('data', (bytes) => client.write(bytes));
  });
  await new Promise<void>((resolve) => relay.listen(0, '127.0.0.1', resolve));
  return {
    port: (relay.address() as AddressInfo).port,
    holdFrom(text) {
      trigger = text;
    },
    deliver() {
      holding = false;
      trigger = null;
      for (const send of held.splice(0)) send();
    },
    close() {
      for (const socket of sockets) socket.destroy();
      relay.close();
    },
  };
}
