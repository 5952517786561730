/**
 * A TCP proxy that breaks the network on demand: the link between an application and the target,
 * for the demo and tests. A FIN travels behind the bytes in front of it, however long they are
 * held; an RST overtakes and discards them, as on a real network.
 */
import { type AddressInfo, connect, createServer, type Socket } from 'node:net';

export interface FaultProxy {
  /**
   * Where to connect to instead of the target, on 127.0.0.1. Stays the same through every fault.
   */
  readonly port: number;
  /**
   * Resets every connection, now and whenever a new one is made, until `restore`. What was held is
   * gone.
   */
  cut(): void;
  /**
   * A black hole: connections are accepted and bytes taken in both directions, but nothing is
   * forwarded.
   */
  swallow(): void;
  /** Ends `swallow`: what was held is forwarded in its order, and bytes flow again. */
  release(): void;
  /** Every piece of data arrives `milliseconds` later, in both directions, until `restore`. */
  slow(milliseconds: number): void;
  /** Back to a healthy link: neither cut nor slow nor holding anything. */
  restore(): void;
  /** Resets every connection and gives the port free. */
  close(): Promise<void>;
}

/** What the link does at the moment, shared by all its connections. */
interface LinkState {
  cut: boolean;
  holding: boolean;
  delayMs: number;
}

/** One direction of one connection. */
interface Lane {
  /** Forwards what is due; called again whenever the state of the link changes. */
  pump(): void;
}

/**
 * Starts a proxy on a free port of 127.0.0.1.
 * @param options `target`: where the bytes go
 */
export async function startProxy(options: { target: { host: string; port: number } }): Promise<FaultProxy> {
  const state: LinkState = { cut: false, holding: false, delayMs: 0 };
  const connections = new Map<Socket, { upstream: Socket; lanes: Lane[] }>();

  const server = createServer({ allowHalfOpen: true, noDelay: true }, (client) => {
    if (state.cut) {
      client.on('error', () => {});
      client.resetAndDestroy();
      return;
    }
    const upstream = connect({ ...options.target, allowHalfOpen: true, noDelay: true });
    connections.set(client, {
      upstream,
      lanes: [createLane(client, upstream, state), createLane(upstream, client, state)],
    });
    client.once('close', () => connections.delete(client));
  });
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject);
    server.listen(0, '127.0.0.1', resolve);
  });

  const pumpAll = () => {
    for (const { lanes } of connections.values()) for (const lane of lanes) lane.pump();
  };
  const resetAll = () => {
    for (const [client, { upstream }] of connections) {
      client.resetAndDestroy();
      upstream.resetAndDestroy();
    }
    connections.clear();
  };
  const release = () => {
    state.holding = false;
    pumpAll();
  };

  return {
    port: (server.address() as AddressInfo).port,
    cut() {
      state.cut = true;
      resetAll();
    },
    swallow() {
      state.holding = true;
    },
    release,
    slow(milliseconds) {
      state.delayMs = milliseconds;
    },
    restore() {
      state.cut = false;
      state.delayMs = 0;
      release();
    },
    async close() {
      const closed = new Promise<void>((resolve) => server.close(() => resolve()));
      resetAll();
      await closed;
    },
  };
}

/**
 * Carries bytes and the FIN from one socket to the other, in order, as the state of the link
 * allows.
 */
function createLane(from: Socket, to: Socket, state: LinkState): Lane {
  const queue: { data: Buffer | 'fin'; dueAt: number }[] = [];
  let timer: NodeJS.Timeout | undefined;

  const pump = () => {
    clearTimeout(timer);
    while (!state.holding && queue[0] !== undefined) {
      const waitMs = state.delayMs === 0 ? 0 : queue[0].dueAt - performance.now();
      if (waitMs > 0) {
        timer = setTimeout(pump, Math.ceil(waitMs));
        return;
      }
      const { data } = queue.shift()!;
      if (data === 'fin') to.end();
      else to.write(data);
    }
  };
  const accept = (data: Buffer | 'fin') => {
    queue.push({ data, dueAt: performance.now() + state.delayMs });
    pump();
  };

  from.on('data', accept);
  from.on('end', () => accept('fin'));
  // Whatever broke this side (a reset, a refused connection), the other side must not mistake it
  // for a clean end.
  from.on('error', () => {
    clearTimeout(timer);
    queue.length = 0;
    to.resetAndDestroy();
  });
  from.once('close', () => clearTimeout(timer));
  return { pump };
}
