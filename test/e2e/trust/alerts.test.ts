/**
 * Each alert once for real: Prometheus asks a bridge, a worker and an application, and something
 * goes wrong.
 */
import { randomUUID } from 'node:crypto';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { type DualWriter, prometheusText } from '../../../src/dual-write/index.js';
import { providePrometheus } from '../../../src/stack/programs/index.js';
import { type FaultProxy, startProxy } from '../../../src/stack/proxy.js';
import { gapWorkflowId } from '../../../workflows/gap-messages.js';
import { read } from '../../documents/generated.js';
import { startBed } from '../../dual-write/bed.js';
import { eventually } from '../../support/eventually.js';
import { createSandbox, type Running, recordOf, type Sandbox, spawnKeymend } from '../../support/keymend.js';
import { startPrometheus } from '../../support/prometheus.js';
import { describeWith, stack } from '../../support/services.js';

const LINK = `alerts-${randomUUID()}`;
const NOT_WHOLE = { name: 'KeymendSweepNotWhole', of: { link: LINK } };

/** Nobody waits for minutes here: the alerts are those of monitoring/, with shorter times. */
const SHORTER: readonly (readonly [RegExp, string])[] = [
  [/^ +for: .*\n/gm, ''],
  [/^ +interval: .*\n/gm, ''],
  [/\[1[0-9]*[hmd]\]/g, '[20s]'],
  [/> 300$/gm, '> 1'],
  [/> 900 /g, '> 1 '],
];

function shortened(file: string): string {
  return SHORTER.reduce((text, [from, to]) => text.replace(from, to), read(file));
}

await describeWith('the alerts in a Prometheus', providePrometheus, ({ server }) => {
  let sandbox: Sandbox;
  let temporal: FaultProxy;
  let prometheus: Awaited<ReturnType<typeof startPrometheus>>;
  beforeAll(async () => {
    sandbox = await createSandbox();
    const [host, port] = stack().temporal.address.split(':');
    temporal = await startProxy({ target: { host: host!, port: Number(port) } });
    prometheus = await startPrometheus(server, ['monitoring/rules.yaml', 'monitoring/alerts.yaml'].map(shortened));
  });
  afterAll(async () => {
    for (const { running } of started.splice(0)) await running.stop('SIGKILL');
    await prometheus?.stop();
    await temporal?.close();
    await sandbox?.close();
  });

  const started: { running: Running; address: string }[] = [];
  const scraped = () => prometheus.scrape(...started.map(({ address }) => address));
  async function start(verb: 'bridge' | 'worker', link: object = {}, more: object = {}): Promise<Running> {
    const retry = { maximumAttempts: 1 };
    // Nobody listens there.
    const webhook = { url: 'http://127.0.0.1:1/', secret: 's', allowPrivate: true, gather: '1s' };
    const config = { http: { port: 0 }, ...more };
    const path = sandbox.configure({
      link: { name: LINK, retry, escalation: { retryEvery: '1h', webhook }, ...link },
      config,
    });
    const running = spawnKeymend([verb, '--config', path], { TEMPORAL_ADDRESS: `127.0.0.1:${temporal.port}` });
    await running.logged(`${verb} is ready`);
    started.push({ running, address: /http:\/\/([\d.:]+)/.exec(running.log())![1]! });
    scraped();
    const { address } = started.at(-1)!;
    await eventually(async () => expect(await prometheus.up()).toContain(address));
    return running;
  }
  async function stop(running: Running): Promise<void> {
    await running.stop();
    started.splice(
      started.findIndex((one) => one.running === running),
      1,
    );
    scraped();
  }
  const write = (...records: { key: string; value: string }[]) =>
    sandbox.producer.send({ topic: sandbox.topic, messages: records.map((record) => ({ ...record, partition: 0 })) });
  const fired = new Set<string>();
  const fires = async (name: string, of: object = {}) => {
    await eventually(async () => expect(await prometheus.firing()).toContainEqual({ name, of }));
    fired.add(name);
  };

  it('of bridge and worker all fire, each by what it is for', async () => {
    const { source, target, client, kafka, topic, prefix } = sandbox;
    await fires('KeymendNoBridge');
    let bridge = await start('bridge');
    await fires('KeymendNoWorker');
    let worker = await start('worker');
    await eventually(async () => expect(await prometheus.firing()).toEqual([]));

    // A key that nobody may read; what has compared all later makes it good.
    await source.client.set('forbidden', 'v');
    await source.client.acl('SETUSER', 'default', 'resetkeys', '~keymend:*', '~[^f]*');
    await sandbox.keymend('sweep', '--link', LINK);
    await fires(NOT_WHOLE.name, NOT_WHOLE.of);
    await source.client.acl('SETUSER', 'default', 'allkeys');
    await source.client.del('forbidden');

    // A write that failed long ago; a record that nobody can read; a key that nobody wrote about.
    await source.client.mset('late', 'new', 'unnoticed', 'new');
    await write(recordOf('late', { link: LINK, failedAt: new Date(Date.now() - 400_000).toISOString() }));
    await write({ key: 'unreadable', value: 'not JSON' });
    await fires('KeymendServiceLevel', { link: LINK, within: '5m' });
    await fires('KeymendDeadLetters', { reason: 'invalid-json' });
    await sandbox.keymend('sweep', '--link', LINK);
    await fires('KeymendSweepFoundDifferences', { link: LINK });
    await eventually(async () => expect(await prometheus.firing()).not.toContainEqual(NOT_WHOLE));

    await target.client.config('SET', 'min-replicas-to-write', '1');
    for (const key of ['refused', 'refused-too']) {
      await source.client.set(key, 'v');
      await write(recordOf(key, { link: LINK }));
      // So that the counter rises more than from nothing to one.
      await eventually(() => client.workflow.getHandle(`${prefix}${key}`).describe());
      await fires('KeymendEscalated');
    }
    await fires('KeymendWebhookFails', { link: LINK });
    await fires('KeymendFailingAttempts', { link: LINK });
    await target.client.config('SET', 'min-replicas-to-write', '0');

    target.freeze();
    await write(recordOf('away', { link: LINK }));
    await fires('KeymendOutage', { link: LINK });
    target.thaw();

    // What waits for a worker is late, and nobody can say that a server is out.
    await stop(worker);
    await write(recordOf('waits', { link: LINK }));
    await fires('KeymendSlowRepairs');

    temporal.cut();
    await write(recordOf('unheard', { link: LINK }));
    await fires('KeymendTemporalAway');
    await write(recordOf('behind', { link: LINK }));
    await fires('KeymendBacklog');
    temporal.restore();

    const ofOutboxes = await start('bridge', {}, { intake: 'redis-stream' });
    source.freeze();
    await fires('KeymendNotRead');
    source.thaw();
    await stop(ofOutboxes);

    await stop(bridge);
    await write(recordOf('lost', { link: LINK }));
    const admin = kafka.admin();
    await admin.connect();
    const ends = await admin.fetchTopicOffsets(topic);
    const { high: offset } = ends.find(({ partition }) => partition === 0)!;
    await admin.deleteTopicRecords({ topic, partitions: [{ partition: 0, offset }] });
    await admin.disconnect();
    bridge = await start('bridge');
    await write(recordOf('found', { link: LINK }));
    await fires('KeymendGap');

    worker = await start('worker', { budget: { opsPerSecond: 20 } });
    const keys = Array.from({ length: 200 }, (_, index) => `many-${index}`);
    await source.client.mset(...keys.flatMap((key) => [key, 'v']));
    await write(...keys.map((key) => recordOf(key, { link: LINK })));
    await fires('KeymendBudgetSpent', { link: LINK });
    await client.workflow.getHandle(gapWorkflowId(LINK)).terminate();
  });

  it('of an application fire as well, each by what it is for', async () => {
    const bed = await startBed();
    try {
      const writer = await bed.writer();
      const address = await shownToPrometheus(writer);
      prometheus.scrape(address);
      await eventually(async () => expect(await prometheus.up()).toEqual([address]));
      const ofWriters = async () => (await prometheus.firing()).filter(({ name }) => name.startsWith('KeymendWriter'));
      expect(await ofWriters()).toEqual([]);

      bed.link.cut();
      await eventually(async () => {
        await writer.set('away', 'v');
        expect(prometheusText({ [LINK]: writer })).toContain(`servers_away{link="${LINK}"} 1\n`);
      });
      await fires('KeymendWriterTargetAway', { link: LINK });
      expect(await ofWriters()).toEqual([{ name: 'KeymendWriterTargetAway', of: { link: LINK } }]);
      bed.sink.refuses = 'refused';
      await writer.set('refused', 'v');
      await fires('KeymendWriterLost', { link: LINK });
    } finally {
      await bed.stop();
    }
  });

  it('are all of monitoring/alerts.yaml', () => {
    const names = [...read('monitoring/alerts.yaml').matchAll(/- alert: (\w+)/g)].map(([, name]) => name!);
    expect([...fired].sort()).toEqual(names.sort());
  });

  /** @returns the address at which Prometheus finds the metrics of an application */
  async function shownToPrometheus(writer: DualWriter): Promise<string> {
    const server = createServer((_request, response) => {
      response.setHeader('content-type', 'text/plain; version=0.0.4').end(prometheusText({ [LINK]: writer }));
    });
    server.unref();
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    return `127.0.0.1:${(server.address() as AddressInfo).port}`;
  }
});
