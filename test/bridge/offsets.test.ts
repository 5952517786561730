import { expect, test } from 'vitest';
import { bridgeBed, clientThat, failedWrite, gate, until } from './bridge-bed.js';

const ANY = { taskQueue: 'none', signal: 'failedWrites' };

test('a key whose signal hangs holds back the commit of what is behind it, but not the signals', async () => {
  const bed = await bridgeBed();
  const release = gate();
  await bed.produce({ id: 'a', key: 'quick:1' }, { id: 'b', key: 'slow' }, { id: 'c', key: 'quick:2' });
  await bed.start({
    client: clientThat(bed.client.workflow, async (key, send) => {
      if (key === 'slow') await release.opened;
      return send();
    }),
  });
  await until(async () => expect(await bed.signalledIds('quick:2')).toEqual([['c']]));
  // What is accepted in front of it is committed although the batch goes on.
  await bed.untilCommitted(1);
  expect(await bed.signalledIds('slow')).toEqual([]);
  release.open();
  await bed.untilCommitted(3);
  expect(await bed.signalledIds('slow')).toEqual([['b']]);
});

test('stopping in the middle of a batch commits what was accepted, and the next bridge takes the rest', async () => {
  const bed = await bridgeBed();
  const { client: away, proxy } = await bed.clientThroughProxy();
  proxy.cut();
  await bed.produce({ id: 'a', key: 'first' }, { id: 'b', key: 'stuck' }, { id: 'c', key: 'third' });
  const bridge = await bed.start({
    client: clientThat(bed.client.workflow, (key, send) =>
      key === 'stuck' ? away.signalWithStart('reconcileKey', { ...ANY, workflowId: key }) : send(),
    ),
  });
  await until(async () => expect(await bed.signalledIds('third')).toEqual([['c']]));
  await bridge.stop();
  await expect(bridge.finished).resolves.toBeUndefined();
  expect(await bed.committed()).toEqual([1]);
  expect(await bed.signalledIds('stuck')).toEqual([]);

  await bed.start();
  await bed.untilCommitted(3);
  expect(await bed.signalledIds('first')).toEqual([['a']]);
  expect(await bed.signalledIds('stuck')).toEqual([['b']]);
  // Delivered twice, known by its id.
  expect(await bed.signalledIds('third')).toEqual([['c'], ['c']]);
});

test('an unexpected error of a handler neither stops the consumer nor loses or skips a record', async () => {
  const bed = await bridgeBed();
  let failures = 0;
  await bed.produce({ id: 'a', key: 'fine' }, { id: 'b', key: 'provokes' }, { id: 'c', key: 'behind' });
  await bed.start({
    client: clientThat(bed.client.workflow, async (key, send) => {
      if (key === 'provokes' && failures++ < 2)
        throw new TypeError("Cannot read properties of undefined (reading 'x')");
      return send();
    }),
  });
  await bed.untilCommitted(3);
  expect(failures).toBe(3);
  expect(await bed.signalledIds('provokes')).toEqual([['b']]);
  expect(await bed.deadLetterCount()).toBe(0);
  expect(bed.warnings()).toEqual(
    Array(2).fill(expect.stringMatching(/^unexpected TypeError in a batch of .*, which is tried again/)),
  );

  // The consumer lives: what comes later is forwarded too.
  await bed.produce({ id: 'd', key: 'later' });
  await bed.untilCommitted(4);
});

test('a bridge that is in the middle of a batch gives partitions up to one that joins', async () => {
  const bed = await bridgeBed({ partitions: 4 });
  const { client: away, proxy } = await bed.clientThroughProxy();
  proxy.cut();
  const keys = Array.from({ length: 40 }, (_, index) => `key:${index}`);
  for (const [index, key] of keys.entries()) {
    await bed.produce({ partition: index % 4, key, value: JSON.stringify(failedWrite({ id: key, key })) });
  }
  const first = await bed.start({ client: away });
  await until(() => expect(first.counters.received).toBeGreaterThan(0));

  // The first one can't finish any batch, so only what it gives up gets on.
  const second = await bed.start();
  await until(async () => expect((await bed.committed()).toSorted()).toEqual([0, 0, 10, 10]));
  expect(first.counters.signalled).toBe(0);
  // Neither was expelled: the first one took part although it was busy.
  const joins = bed.logs.map(({ msg }) => /^reads (\d) partitions/.exec(msg)?.[1]).filter(Boolean);
  expect(joins).toEqual(['4', '2', '2']);
  expect(second.counters.signalled).toBeGreaterThanOrEqual(20);

  await first.stop();
  await bed.untilCommitted(10, 10, 10, 10);
  for (const key of keys) expect(new Set((await bed.signalledIds(key)).flat())).toEqual(new Set([key]));
});
