/**
 * One of several instances of a service: writes to keys that the others write too, until told to
 * stop. Its records go to the outbox.
 */
import { once } from 'node:events';
import { Redis } from 'ioredis';
import { createDualWriter, createOutbox, mirrorOptions } from '../../dist/src/index.js';
import { randomWrite } from './random-writes.js';

const { sourcePort, targetPort, transactional, keys, callers } = JSON.parse(process.argv[2]);

const source = new Redis(sourcePort, '127.0.0.1');
const target = new Redis(targetPort, '127.0.0.1', mirrorOptions(5000));
const outbox = createOutbox({ client: source });
const redis = createDualWriter({
  link: 'east-to-west',
  origin: 'crossing-application',
  source,
  target,
  records: outbox,
  onError: () => {},
  ...(transactional && { transactional: {} }),
});

let isRunning = true;
async function work() {
  // One after the other or, with several callers, at once.
  while (isRunning) await randomWrite(redis, keys).send();
}

await Promise.all([source.ping(), once(target, 'ready')]);
process.send('ready');
await once(process, 'message');
const stop = once(process, 'message');
const working = Array.from({ length: callers }, work);
await stop;
isRunning = false;
await Promise.all(working);
const report = await redis.close();
if (report.notRecorded.length + report.unanswered.length > 0) throw new Error('something is not recorded');
await outbox.close();
source.disconnect();
target.disconnect();
process.disconnect();
