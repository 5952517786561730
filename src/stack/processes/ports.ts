/** Which TCP ports of the loopback interface the services get. */
import { randomInt } from 'node:crypto';
import { connect, createServer } from 'node:net';
import { StackError } from '../errors.js';

export const HOST = '127.0.0.1';

/** Every port the services listen on, and the one each has usually. */
export const USUAL_PORTS = {
  temporal: 7233,
  temporalUi: 8233,
  kafka: 9092,
  kafkaController: 9093,
  redisSource: 6379,
  redisTarget: 6380,
  mysql: 3306,
} as const;

export type PortName = keyof typeof USUAL_PORTS;
export type Ports = Partial<Record<PortName, number>>;

/**
 * True when nothing listens there and we may. Asked both ways, because some systems let a loopback
 * address be bound while somebody listens on all addresses.
 */
export async function isFree(port: number): Promise<boolean> {
  return !(await accepts(port)) && (await listenOn(port)) !== undefined;
}

/**
 * Below what systems give to whoever asks for any port: a service that is stopped for a while finds
 * its port free again.
 */
const [FIRST, LAST] = [30_000, 32_700];
const TRIES = 20;

/**
 * A port that is free now; nothing keeps another process from taking it before it is used.
 * @param but not one of these
 */
export async function freePort(but: readonly number[] = []): Promise<number> {
  for (let tries = 0; tries < TRIES; tries++) {
    const port = randomInt(FIRST, LAST);
    if (!but.includes(port) && (await isFree(port))) return port;
  }
  const port = await listenOn(0);
  if (port === undefined) throw new StackError(`no free TCP port on ${HOST}; close some programs and try again`);
  return port;
}

function accepts(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect({ port, host: HOST });
    const answer = (value: boolean) => {
      socket.destroy();
      resolve(value);
    };
    socket.setTimeout(1000, () => answer(true));
    socket.once('connect', () => answer(true));
    socket.once('error', () => answer(false));
  });
}

function listenOn(port: number): Promise<number | undefined> {
  return new Promise((resolve) => {
    const server = createServer();
    server.once('error', () => resolve(undefined));
    server.listen(port, HOST, () => {
      const address = server.address();
      server.close(() => resolve(typeof address === 'object' && address ? address.port : undefined));
    });
  });
}
