import { Redis } from 'ioredis';
import { expect, onTestFinished, test } from 'vitest';
import type { BatchHandler } from '../../src/events/intake.js';
import { createOutboxIntake } from '../../src/outbox/intake.js';
import { createOutbox } from '../../src/outbox/record-sink.js';
import type { NoticedGap } from '../../workflows/gap-messages.js';
import { FAILOVERS } from '../support/sentinel.js';
import { type LogLine, loggerInto, until } from './bridge-bed.js';
import { idsByKey, writesOf } from './cluster-bed.js';
import { type SentinelBed, sentinelBed } from './sentinel-bed.js';

const STREAM = 'keymend:outbox';

function outboxOn(bed: SentinelBed, timeoutMs = 20_000) {
  const outbox = createOutbox({ client: new Redis(bed.options), timeoutMs });
  onTestFinished(() => outbox.close());
  return outbox;
}

function read(bed: SentinelBed, logs: LogLine[], handle: BatchHandler) {
  const source = { endpoint: bed.endpoint, name: 'source of link l', links: ['l'] };
  const logger = loggerInto(logs);
  // A failover deletes nothing.
  const onGap = async ({ message }: NoticedGap) => expect.unreachable(message);
  const intake = createOutboxIntake({
    source,
    key: STREAM,
    group: 'keymend-bridge',
    handle,
    putsAside: true,
    onGap,
    logger,
  });
  onTestFinished(() => intake.stop());
  intake.start();
  return intake;
}

/** Of the entries that a server has, in their order. */
async function storedIds({ client }: { client: Redis }): Promise<string[]> {
  return (await client.xrange(STREAM, '-', '+')).map(
    ([, fields]) => JSON.parse(fields[fields.indexOf('value') + 1]!).id,
  );
}

test.each(FAILOVERS)('the outbox finds the new master after a failover %s', async (_how, failOver) => {
  const bed = await sentinelBed();
  const outbox = outboxOn(bed);
  await outbox.publish(writesOf(10, 100));
  await bed.group.replicated();
  await failOver(bed.group);
  await outbox.publish(writesOf(10, 100, 100));
  expect(await storedIds(bed.group.master)).toEqual(writesOf(10, 200).map(({ id }) => id));
});

test('what is given to the outbox while nobody is master is there when somebody is', async () => {
  const bed = await sentinelBed();
  const outbox = outboxOn(bed);
  await outbox.connect();
  const dead = bed.group.master.stop();
  const published = outbox.publish(writesOf(10, 100));
  await dead;
  await bed.group.killMaster();
  await published;
  expect(await storedIds(bed.group.master)).toEqual(writesOf(10, 100).map(({ id }) => id));
});

test('the outbox says in one line that no Sentinel answers, without waiting for one', async () => {
  const client = new Redis({ sentinels: [{ host: '127.0.0.1', port: 1 }], name: 'mymaster', lazyConnect: true });
  const outbox = createOutbox({ client, timeoutMs: 200 });
  onTestFinished(() => outbox.close());
  await expect(outbox.publish(writesOf(1, 1))).rejects.toThrow(
    /^the outbox keymend:outbox at master mymaster of Sentinels takes no records: the source cannot be reached: [^\n]+$/,
  );
});

test.each(FAILOVERS)('the intake goes on at the new master after a failover %s', async (_how, failOver) => {
  const bed = await sentinelBed();
  const outbox = outboxOn(bed);
  const seen: { id: string; key: string }[] = [];
  const logs: LogLine[] = [];
  const intake = read(bed, logs, async ({ records, accepted }) => {
    for (const record of records) {
      seen.push(JSON.parse(String(record.value)));
      accepted(record);
    }
  });
  await intake.check();
  const sent = writesOf(10, 300);
  await outbox.publish(sent.slice(0, 100));
  await until(async () => expect(await bed.group.master.client.xlen(STREAM)).toBe(0));
  await bed.group.replicated();
  await failOver(bed.group);
  await outbox.publish(sent.slice(100, 200));
  await until(() => expect(seen).toHaveLength(200));
  await outbox.publish(sent.slice(200));
  await until(async () => expect(await bed.group.master.client.xlen(STREAM)).toBe(0));
  expect(idsByKey(seen)).toEqual(idsByKey(sent));
  for (const { level, msg } of logs) if (level >= 40) expect(msg).toMatch(/cannot be read.*No record is lost/);
});
