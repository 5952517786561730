/**
 * A relay whose bytes arrive although their sender has long given up: what a network can do, and no
 * reset takes back.
 */
import { type AddressInfo, connect, createServer, type Socket } from 'node:net';
import { promisify } from 'node:util';

export interface Relay {
  readonly port: number;
  /** From where this text comes next, nothing reaches the server until `deliver`. */
  holdFrom(text: string): void;
  /** Resolves when the text has come. */
  held(): Promise<void>;
  deliver(): void;
  /** Further connections go to another server; those that are there stay. */
  leadTo(port: number): void;
  /** Ends every connection; further ones are taken. */
  cut(): void;
  /** Of its present connections to the server. */
  ports(): readonly number[];
  /** How many are connected to it. */
  clients(): Promise<number>;
  close(): void;
}

export async function startRelay(serverPort: number): Promise<Relay> {
  let leadsTo = serverPort;
  let trigger: string | null = null;
  let holding = false;
  let whenHeld = () => {};
  let isHeld = Promise.resolve();
  const held: (() => void)[] = [];
  const sockets: Socket[] = [];
  const upstreams: Socket[] = [];
  const relay = createServer((client) => {
    const upstream = connect(leadsTo, '127.0.0.1');
    sockets.push(client, upstream);
    upstreams.push(upstream);
    for (const socket of [client, upstream]) socket.on('error', () => {});
    client.on('data', (bytes) => {
      const from = holding ? 0 : trigger === null ? -1 : bytes.indexOf(trigger);
      if (from === -1) {
        upstream.write(bytes);
        return;
      }
      holding = true;
      upstream.write(bytes.subarray(0, from));
      held.push(() => upstream.write(bytes.subarray(from)));
      whenHeld();
    });
    upstream.on('data', (bytes) => client.write(bytes));
  });
  const cut = () => {
    for (const socket of sockets.splice(0)) socket.destroy();
  };
  await new Promise<void>((resolve) => relay.listen(0, '127.0.0.1', resolve));
  return {
    port: (relay.address() as AddressInfo).port,
    holdFrom(text) {
      trigger = text;
      isHeld = new Promise((resolve) => {
        whenHeld = resolve;
      });
    },
    held: () => isHeld,
    deliver() {
      holding = false;
      trigger = null;
      for (const send of held.splice(0)) send();
    },
    leadTo(port) {
      leadsTo = port;
    },
    cut,
    clients: promisify(relay.getConnections.bind(relay)),
    ports: () => upstreams.flatMap(({ localPort }) => localPort ?? []),
    close() {
      cut();
      relay.close();
    },
  };
}
