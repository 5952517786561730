/** The entries of transactional mode, while the source's Sentinels tell of a failover. */
import { once } from 'node:events';
import { type AddressInfo, createServer, type Socket } from 'node:net';
import { Redis } from 'ioredis';
import { expect, it, onTestFinished } from 'vitest';
import { type IntentState, Intents } from '../../src/dual-write/source/intents.js';
import type { Write } from '../../src/dual-write/source/write.js';
import { eventually } from '../support/eventually.js';
import { startRedis } from '../support/redis.js';
import { startRelay } from '../support/relay.js';

const OUTBOX = 'keymend:outbox';
const WRITE: Write = { command: 'SET', args: ['k', 'v'], keys: [Buffer.from('k')] };

/**
 * Knows one master. Told to announce a failover, it does so while it is asked for the master the
 * next time.
 */
async function startSentinel(master: number) {
  const listening = new Set<Socket>();
  const bulk = (text: string) => `$${text.length}\r\n${text}\r\n`;
  const array = (...texts: string[]) => `*${texts.length}\r\n${texts.map(bulk).join('')}`;
  let subscriptions = 0;
  let announces = false;
  let announced!: () => void;
  const answer = (socket: Socket, command: string) => {
    if (command.includes('subscribe')) {
      // Who has just connected may ask twice.
      if (!listening.has(socket)) subscriptions += 1;
      listening.add(socket);
      socket.write(`*3\r\n${bulk('subscribe')}${bulk('+switch-master')}:1\r\n`);
    } else if (command.includes('get-master-addr-by-name')) {
      if (announces) {
        announces = false;
        // Who has read it hangs up.
        const heard = [...listening].map((listener) => once(listener, 'close'));
        for (const listener of listening) listener.write(array('message', '+switch-master', 'east'));
        void Promise.all(heard).then(() => {
          socket.write(array('127.0.0.1', `${master}`));
          announced();
        });
      } else {
        socket.write(array('127.0.0.1', `${master}`));
      }
    } else {
      socket.write(command.includes('sentinels') ? '*0\r\n' : '-ERR unknown command\r\n');
    }
  };
  const server = createServer((socket) => {
    socket.on('error', () => {});
    socket.on('close', () => listening.delete(socket));
    socket.on('data', (bytes) => {
      for (const command of `${bytes}`.split(/(?=\*\d+\r\n)/)) answer(socket, command);
    });
  }).listen(0, '127.0.0.1');
  await once(server, 'listening');
  onTestFinished(() => {
    server.close();
  });
  return {
    port: (server.address() as AddressInfo).port,
    subscriptions: () => subscriptions,
    announceWhenAsked: () =>
      new Promise<void>((resolve) => {
        announces = true;
        announced = resolve;
      }),
  };
}

function intentsOf(client: Redis, onState: (state: IntentState) => void = () => {}): Intents {
  const context = { link: 'east-to-west', origin: 'test' };
  const intents = new Intents({ client, key: OUTBOX, graceMs: 10_000, maxEntries: 1000, context, onState });
  onTestFinished(() => intents.close(0));
  return intents;
}

/** A write whose entry is made by another connection, like that of an application. */
async function announced(intents: Intents, client: Redis): Promise<Write> {
  const write = { ...WRITE };
  for (const { command, answered } of intents.announce(write)) answered(await client.sendCommand(command));
  return write;
}

it('entries are removed also after a failover that was announced while the master was asked for', async () => {
  const source = await startRedis();
  onTestFinished(() => source.stop());
  const sentinel = await startSentinel(source.port);
  const client = new Redis({
    sentinels: [{ host: '127.0.0.1', port: sentinel.port }],
    name: 'east',
    failoverDetector: true,
    lazyConnect: true,
  });
  const intents = intentsOf(client);
  const entries = () => source.client.xlen(OUTBOX);
  const written = () => announced(intents, source.client);
  intents.conclude([await written()]);
  await eventually(async () => expect([await entries(), sentinel.subscriptions()]).toEqual([0, 1]));

  const failover = sentinel.announceWhenAsked();
  await source.client.call('CLIENT', 'KILL', 'TYPE', 'normal', 'SKIPME', 'yes');
  await failover;
  // It listens to them again once it is connected to the master.
  await eventually(() => expect(sentinel.subscriptions()).toBe(2));
  intents.conclude([await written()]);
  await eventually(async () => expect(await entries()).toBe(0));
});

it('entries are removed also at the server that took the place of a demoted master behind its address', async () => {
  const [first, second] = await Promise.all([startRedis(), startRedis()]);
  onTestFinished(() => Promise.all([first.stop(), second.stop()]).then(() => {}));
  const relay = await startRelay(first.port);
  onTestFinished(() => relay.close());
  const states: IntentState[] = [];
  const intents = intentsOf(new Redis(relay.port, '127.0.0.1', { lazyConnect: true }), (state) => states.push(state));
  intents.conclude([await announced(intents, first.client)]);
  await eventually(async () => expect(await first.client.xlen(OUTBOX)).toBe(0));

  await first.client.replicaof('127.0.0.1', second.port);
  relay.leadTo(second.port);
  const writes = [await announced(intents, second.client), await announced(intents, second.client)];
  expect(await second.client.xlen(OUTBOX)).toBe(2);
  intents.conclude(writes);
  await eventually(async () => expect(await second.client.xlen(OUTBOX)).toBe(0));
  expect(states).toEqual([]);
});
