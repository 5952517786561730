/**
 * The bridge's own work on a backlog of so many records, which are generated, with a Temporal that
 * takes every batch and has done it at once. Sends the most memory that was in use after a garbage
 * collection, in bytes. Needs a build, and --expose-gc.
 */
import { randomUUID } from 'node:crypto';
import { WorkflowClient } from '@temporalio/client';
import { pino } from 'pino';
import { createBatches } from '../dist/src/bridge/batches/batches.js';
import { OpenBatches } from '../dist/src/bridge/batches/open-batches.js';
import { Surge } from '../dist/src/bridge/batches/surge.js';
import { Forwarder } from '../dist/src/bridge/forwarder.js';
import { NONE_UNFINISHED } from '../dist/src/bridge/runs/unfinished-runs.js';
import { parseConfig } from '../dist/src/config.js';
import { FailingKeys } from '../dist/src/failing-keys/counter.js';
import { bridgeMetrics } from '../dist/src/telemetry/bridge-metrics.js';
import { Metrics } from '../dist/src/telemetry/metrics.js';
import { LinkAttribute } from '../dist/src/temporal/link-attribute.js';

const [records, source] = [Number(process.argv[2]), process.argv[3]];
/** As many as one fetch brings of a partition, about. */
const FETCHED = 3_000;
const LOOK_EVERY = 5_000;

const logger = pino({ level: 'silent' });
const config = parseConfig(
  JSON.stringify({
    kafka: { brokers: ['h:1'] },
    links: [{ name: 'l', source: { url: source }, target: { url: 'redis://nobody:1' } }],
  }),
  'bench',
  {},
);
const links = new Map(config.links.map((link) => [link.name, link]));
const client = Object.assign(Object.create(WorkflowClient.prototype), {
  start: async () => {},
  getHandle: () => ({ describe: async () => ({ status: { name: 'COMPLETED' } }) }),
  list: async function* () {},
  withDeadline: (_, work) => work(),
});
const isOut = () => false;
const common = {
  client,
  taskQueue: 'bench',
  attribute: new LinkAttribute(logger),
  unfinished: NONE_UNFINISHED,
  logger,
};
const open = new OpenBatches({ ...common, isOut });
const failingKeys = new FailingKeys(logger);
const { forward } = new Forwarder({
  of: 'Kafka',
  links,
  surge: new Surge({ config: { enter: 1_000, leave: 100, age: 60_000 }, isOut, logger }),
  batches: createBatches({ ...common, open }),
  signaller: { signal: async () => ({ kind: 'taken' }) },
  gaps: {},
  failingKeys,
  metrics: bridgeMetrics(new Metrics(), {
    backlog: () => ({ records: 0, ageMs: 0 }),
    isSurge: () => true,
    openBatches: () => 0,
  }),
  deadLetters: {},
  logger,
});

function recordAt(offset) {
  const key = `user:${offset}`;
  const error = { code: 'TIMEOUT', message: 'the target did not answer within 500 ms; the connection was reset' };
  const failedAt = new Date().toISOString();
  const write = {
    specVersion: 1,
    id: randomUUID(),
    link: 'l',
    key,
    command: 'SET',
    outcome: 'refused',
    failedAt,
    error,
  };
  const position = { topic: 't', partition: 0, offset: `${offset}`, timestamp: '1' };
  return { key: Buffer.from(key), value: Buffer.from(JSON.stringify(write)), headers: {}, position };
}

let most = 0;
let accepted = 0;
for (let begin = 0; begin < records; begin += FETCHED) {
  const count = Math.min(FETCHED, records - begin);
  await forward({
    records: Array.from({ length: count }, (_, index) => recordAt(begin + index)),
    backlog: { records: records - begin, ageMs: 0 },
    isContiguous: true,
    signal: new AbortController().signal,
    accepted: () => {
      accepted += 1;
    },
  });
  if (begin % LOOK_EVERY >= FETCHED) continue;
  globalThis.gc();
  const { heapUsed, external } = process.memoryUsage();
  most = Math.max(most, heapUsed + external);
}
if (accepted !== records) throw new Error(`${accepted} of ${records} records were accepted`);
await Promise.all([open.stop(), failingKeys.close()]);
process.send({ bytes: most, residentBytes: process.resourceUsage().maxRSS * 1024 });
