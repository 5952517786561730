/** `keymend doctor`: what is wrong, and what to do. */
import { randomUUID } from 'node:crypto';
import { afterAll, beforeAll, expect, it, onTestFinished } from 'vitest';
import { GAP_TYPE, gapWorkflowId, lost } from '../../../workflows/gap-messages.js';
import { WORKFLOW_TYPE } from '../../../workflows/messages.js';
import { eventually } from '../../support/eventually.js';
import { createSandbox, type Sandbox } from '../../support/keymend.js';
import { freePort } from '../../support/redis.js';
import { stack } from '../../support/services.js';
import { createTopics } from '../../support/topics.js';

let sandbox: Sandbox;
beforeAll(async () => {
  sandbox = await createSandbox();
});
afterAll(() => sandbox?.close());

interface Report {
  readonly ok: boolean;
  readonly checks: readonly { level: string; message: string; remedy: string | null }[];
}

async function doctor(): Promise<{ code: number; report: Report }> {
  const { code, stdout, stderr } = await sandbox.keymend('doctor', '--output', 'json');
  if (stdout === '') throw new Error(stderr);
  return { code, report: JSON.parse(stdout) as Report };
}

function failing({ checks }: Report): string[] {
  return checks.filter(({ level }) => level === 'fail').map(({ message }) => message);
}

it('what fails is named with what to do, and the others are looked at all the same', async () => {
  sandbox.configure({ kafka: { brokers: [`127.0.0.1:${await freePort()}`] } });
  const { source, target } = sandbox;
  await target.client.call('ACL', 'SETUSER', 'default', '-restore', '-hset');
  await source.client.config('SET', 'maxmemory', '1gb');
  await source.client.config('SET', 'maxmemory-policy', 'allkeys-lru');
  try {
    const { code, report } = await doctor();
    expect([code, report.ok]).toEqual([1, false]);
    const { checks } = report;
    expect(checks).toContainEqual({
      level: 'fail',
      message: expect.stringMatching(
        /^target of link east-to-west .*: user default may not use RESTORE, HSET, needed to repair keys$/,
      ),
      remedy: 'ACL SETUSER default +restore +hset',
    });
    expect(checks).toContainEqual({
      level: 'warn',
      message: expect.stringMatching(/^source of link east-to-west .* evicts keys \(maxmemory-policy allkeys-lru\)/),
      remedy: expect.stringContaining('noeviction'),
    });
    expect(failing(report)).toContainEqual(expect.stringMatching(/^Kafka does not answer at /));
    expect(failing(report)).toContainEqual(expect.stringMatching(/^no worker asks for work/));
    expect(checks).toContainEqual(
      expect.objectContaining({ level: 'ok', message: expect.stringContaining('are two') }),
    );
  } finally {
    await target.client.call('ACL', 'SETUSER', 'default', '+@all');
    await source.client.config('SET', 'maxmemory', '0');
  }
});

it('a replica on a side, and one server on both, fail', async () => {
  sandbox.configure({});
  await sandbox.target.client.replicaof('127.0.0.1', 1);
  const { report } = await doctor();
  expect(failing(report)).toContainEqual(expect.stringMatching(/^target of link east-to-west .*replica/));
  await sandbox.target.client.replicaof('NO', 'ONE');
  // By another name, which the configuration can't know of.
  sandbox.configure({ link: { target: { url: sandbox.source.url.replace('127.0.0.1', 'localhost') } } });
  expect(failing((await doctor()).report)).toContainEqual(expect.stringContaining('is the same Redis as'));
  sandbox.configure({ link: { target: { url: sandbox.source.url } } });
  const unreadable = await doctor();
  expect(unreadable).toMatchObject({ code: 1, report: { ok: false, checks: [{ level: 'fail' }] } });
});

it('nothing fails where all is well, and it says what was looked at', async () => {
  sandbox.configure({});
  const running = await sandbox.start('start');
  const { code, report } = await doctor();
  expect(failing(report)).toEqual([]);
  expect([code, report.ok]).toEqual([0, true]);
  const { stdout } = await sandbox.keymend('doctor');
  for (const line of [
    'the configuration can be read',
    /Temporal at \S+, namespace default answers \(server /,
    /namespace default keeps closed workflows for /,
    'has all search attributes, of type Keyword',
    /Kafka at \S+ has its topics/,
    /source of link east-to-west \(\S+\) answers and is a master/,
    /target of link east-to-west \(\S+\): user default may do what keymend needs/,
    /target of link east-to-west \(\S+\): memory policy noeviction/,
    'source and target of link east-to-west are two',
    /the target's clock is \d+ ms (behind|ahead of) the source's/,
    /1 worker asks for work on the task queue /,
    /workers are of version ([\d.]+), bridges are of version \1, this command line of \1/,
    '1 bridge reads failed writes',
    /the topic failed-writes-\w+ has 4 partitions: so many bridges can read it at once/,
    'no failed writes are known to be lost',
  ]) {
    const pattern = typeof line === 'string' ? line.replace(/[.()]/g, '\\$&') : line.source;
    expect(stdout).toMatch(new RegExp(`^ok {4}.*${pattern}`, 'm'));
  }
  expect(await running.stop()).toBe(0);
});

/** A consumer that is in the group beside the bridge. */
async function joinGroup(groupId: string, topic: string): Promise<void> {
  const consumer = sandbox.kafka.consumer({ groupId });
  onTestFinished(() => consumer.disconnect());
  const joined = new Promise((resolve) => consumer.on(consumer.events.GROUP_JOIN, resolve));
  await consumer.subscribe({ topics: [topic] });
  await consumer.run({ eachMessage: async () => {} });
  await joined;
}

/**
 * Of who has asked, a queue tells for a minute more; each of its parts of those that asked there.
 * Who would wait for less than two seconds is turned away.
 */
async function askForWork(taskQueue: string, identity: string): Promise<void> {
  const { connection } = sandbox.client;
  const request = { namespace: 'default', taskQueue: { name: taskQueue }, identity };
  const ask = () => connection.workflowService.pollWorkflowTaskQueue(request);
  const asked = Array.from({ length: 16 }, () => connection.withDeadline(Date.now() + 5_000, ask).catch(() => {}));
  await Promise.all(asked);
}

it('what works at a risk is warned of, and nothing fails for it', async () => {
  const link = `doctor-${randomUUID()}`;
  const taskQueue = `${link}-tasks`;
  const { address } = stack().temporal;
  const kafka = { topic: link, groupId: link };
  sandbox.configure({ link: { name: link }, kafka, config: { temporal: { taskQueue, address } } });
  const admin = sandbox.kafka.admin();
  await admin.connect();
  const configEntries = ['retention.ms=7200000', 'retention.bytes=1000000'].map((entry) => {
    const [name, value] = entry.split('=') as [string, string];
    return { name, value };
  });
  await createTopics(admin, { topic: link, numPartitions: 1, configEntries });
  await admin.disconnect();
  const running = await sandbox.start('start');
  const warned = async (...all: readonly (readonly [message: RegExp, remedy: string])[]) => {
    const { code, report } = await doctor();
    expect([code, failing(report)]).toEqual([0, []]);
    const warnings = report.checks.filter(({ level }) => level === 'warn');
    for (const [message, remedy] of all) {
      expect(warnings).toContainEqual({
        level: 'warn',
        message: expect.stringMatching(message),
        remedy: expect.stringContaining(remedy),
      });
    }
  };
  await eventually(async () => {
    // Heard of for a minute; and before there is work that it could be given.
    await askForWork(taskQueue, '1@elsewhere keymend/0.0.1');
    await warned([
      /^workers are of versions 0\.0\.1 and \S+, bridges are of version \S+, this command line of /,
      'let all of them be of one version',
    ]);
  });
  await joinGroup(link, link);
  const { workflow } = sandbox.client;
  const gap = { id: 'i', cause: 'removed', records: 1, message: 'lost', noticedAt: new Date().toISOString() } as const;
  const open = [
    await workflow.signalWithStart(GAP_TYPE, {
      workflowId: gapWorkflowId(link),
      taskQueue,
      args: [{ link }],
      signal: lost,
      signalArgs: [[gap]],
    }),
    await workflow.start(WORKFLOW_TYPE, { workflowId: `${link}/k`, taskQueue: `${link}-others`, args: [] }),
  ];
  onTestFinished(async () => void (await Promise.all(open.map((each) => each.terminate()))));
  await eventually(() =>
    warned(
      [/^the topic doctor-\S+ drops failed writes after 2 hours,/, 'retention.ms=1209600000'],
      [/^the topic doctor-\S+ drops failed writes beyond 1000000 bytes a partition/, 'retention.bytes=-1'],
      [/^the topic doctor-\S+ has 1 partition, and 2 bridges are there: 1 of them reads nothing$/, 'reserve'],
      [/^\d+ keys? under way on other task queues than /, 'run workers of their configuration'],
      [/^link doctor-\S+: failed writes are known to be lost$/, '`keymend sweep --repair`'],
    ),
  );
  expect(await running.stop()).toBe(0);
});
