/**
 * A process of its own between a client and a Redis: what passes arrives `delayMs` later, or up to
 * 1 ms more.
 */
import { connect, createServer } from 'node:net';

const { host, port, delayMs } = JSON.parse(process.argv[2]);

function forward(from, to) {
  from.on('data', (bytes) => setTimeout(() => to.writable && to.write(bytes), delayMs));
  from.on('error', () => {});
  from.on('close', () => to.destroy());
}

const server = createServer({ noDelay: true }, (client) => {
  const upstream = connect({ host, port, noDelay: true });
  forward(client, upstream);
  forward(upstream, client);
});
server.listen(0, '127.0.0.1', () => process.send(server.address().port));
process.once('disconnect', () => process.exit());
