/**
 * An application that writes until it is killed: all kinds of writes, many at once. It notes in a
 * file when it begins one and when that is mirrored or recorded, so that afterwards it is known
 * which keys were in flight.
 */
import { writeSync } from 'node:fs';
import { Redis } from 'ioredis';
import { createDualWriter, createOutbox, mirrorOptions } from '../../dist/src/index.js';

const { sourcePort, targetPort, transactional, keys, writers, notes } = JSON.parse(process.argv[2]);

const source = new Redis(sourcePort, '127.0.0.1');
const redis = createDualWriter({
  link: 'east-to-west',
  origin: 'killed-application',
  source,
  target: new Redis(targetPort, '127.0.0.1', mirrorOptions(2000)),
  records: createOutbox({ client: source }),
  onError: () => {},
  onUnrecorded: 'reject',
  ...(transactional && { transactional: {} }),
});

const random = (below) => Math.floor(Math.random() * below);
const name = (type) => `${type}:${random(keys)}`;
const WRITES = [
  () => write([name('string')], ([key]) => redis.set(key, `${random(1e9)}`)),
  () => write([name('counter')], ([key]) => redis.incr(key)),
  () => write([name('hash')], ([key]) => redis.hset(key, `f${random(5)}`, `${random(1e9)}`)),
  () => write([name('set')], ([key]) => redis.sadd(key, `${random(50)}`)),
  () => write([name('set')], ([key]) => redis.spop(key)),
  () => write([name('list')], ([key]) => redis.lpush(key, `${random(1e9)}`)),
  () => write([name('list')], ([key]) => redis.rpop(key)),
  () => write([name('string')], ([key]) => redis.del(key)),
  () => write([name('string')], ([key]) => redis.expire(key, 1000 + random(1000))),
  () => write([name('zset'), name('counter')], ([z, n]) => redis.multi().zincrby(z, 1, 'm').incrby(n, 5).exec()),
  () => write([name('string'), name('list')], ([s, l]) => redis.pipeline().append(s, 'x').rpush(l, 'y').exec()),
];

let count = 0;
async function write(written, send) {
  const id = ++count;
  writeSync(notes, `+ ${id} ${written.join(' ')}\n`);
  await send(written);
  writeSync(notes, `- ${id}\n`);
}

async function work() {
  for (;;) await WRITES[random(WRITES.length)]();
}

await Promise.all([source, redis].map((client) => client.ping()));
for (let worker = 0; worker < writers; worker++) work();
process.send('writing');
