/**
 * An application that writes until it is killed: all kinds of writes, many at once. It notes in a
 * file when it begins one and when that is mirrored or recorded, so that afterwards it is known
 * which keys were in flight.
 */
import { writeSync } from 'node:fs';
import { Redis } from 'ioredis';
import { createDualWriter, createOutbox, mirrorOptions } from '../../dist/src/index.js';
import { randomWrite } from './random-writes.js';

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

let count = 0;
async function work() {
  for (;;) {
    const write = randomWrite(redis, keys);
    const id = ++count;
    writeSync(notes, `+ ${id} ${write.keys.join(' ')}\n`);
    await write.send();
    writeSync(notes, `- ${id}\n`);
  }
}

await Promise.all([source, redis].map((client) => client.ping()));
for (let worker = 0; worker < writers; worker++) work();
process.send('writing');
