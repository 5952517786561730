/** What workers tell of a server that does not answer, on a real Temporal. */
import { randomUUID } from 'node:crypto';
import { Client, Connection } from '@temporalio/client';
import type { ApplicationFailure } from '@temporalio/common';
import { MockActivityEnvironment } from '@temporalio/testing';
import { DefaultLogger, Worker } from '@temporalio/worker';
import { describe, expect, it, onTestFinished } from 'vitest';
import { createOutageActivities } from '../../activities/outage.js';
import { startProxy } from '../../src/stack/proxy.js';
import { LinkAttribute } from '../../src/temporal/link-attribute.js';
import { logOutage, OutageNotices } from '../../src/worker/outage-notices.js';
import {
  type OutageInput,
  type OutageReport,
  type OutageStatus,
  outageWorkflowId,
  status,
} from '../../workflows/outage-messages.js';
import { loggerInto } from '../bridge/bridge-bed.js';
import { eventually } from '../support/eventually.js';
import { stack } from '../support/services.js';
import { onStack, workflowBundle } from '../support/workflow-bed.js';

const SHARD = '10.0.0.1:6379';

describe('a server that does not answer', () => {
  const server = onStack();

  /** A worker, and those who notice: `noticing` makes one of them. */
  function bed() {
    const { client, nativeConnection: connection } = server.env;
    const link = `link-${randomUUID()}`;
    const taskQueue = link;
    const lines: Parameters<typeof loggerInto>[0] = [];
    const logger = loggerInto(lines);
    // Whatever is asked: it does not answer.
    const target = { answers: async () => new Error('no answer in time') };
    const links = new Map([[link, { sides: { target } as never }]]);
    const activities = createOutageActivities({ links, onOutage: logOutage(logger) });
    return {
      workflow: client.workflow.getHandle(outageWorkflowId(link, SHARD)),
      running: async <T>(work: () => Promise<T>) =>
        (await Worker.create({ connection, taskQueue, workflowBundle: workflowBundle(), activities })).runUntil(work),
      /** As `running`, by a worker that does not know the link. */
      forgotten: async <T>(work: () => Promise<T>) => {
        const forgetful = createOutageActivities({ links: new Map(), onOutage: () => {} });
        const options = { connection, taskQueue, workflowBundle: workflowBundle(), activities: forgetful };
        return (await Worker.create(options)).runUntil(work);
      },
      told: (text: string) => lines.filter(({ msg }) => msg.includes(text)),
      noticing(identity: string, by: Client = client) {
        const attribute = new LinkAttribute(logger);
        const notices = new OutageNotices({ client: by.workflow, taskQueue, attribute, identity, logger });
        onTestFinished(() => notices.close());
        return notices.listenerOf(link);
      },
    };
  }

  it('of a link that was removed is not asked any more once no worker has known it for ten minutes', async () => {
    const activities = createOutageActivities({ links: new Map(), onOutage: () => {} });
    const ask = async (unknownSince?: number) => {
      const environment = new MockActivityEnvironment(
        { heartbeatDetails: unknownSince && { unknownSince } },
        { logger: new DefaultLogger('ERROR') },
      );
      let noted: unknown;
      environment.on('heartbeat', (details) => {
        noted = details;
      });
      const asked = environment.run(activities.answers, { link: 'removed', shard: SHARD });
      const failure = (await asked.catch((error: unknown) => error)) as ApplicationFailure;
      return { noted, isOver: failure.nonRetryable };
    };
    const [before, longBefore] = [Date.now() - 60_000, Date.now() - 11 * 60_000];
    expect(await ask()).toEqual({ noted: { unknownSince: expect.any(Number) }, isOver: false });
    expect(await ask(before)).toEqual({ noted: { unknownSince: before }, isOver: false });
    expect(await ask(longBefore)).toEqual({ noted: { unknownSince: longBefore }, isOver: true });
  });

  it('remembers since when its link is not known from attempt to attempt', async () => {
    const { workflow, noticing, forgotten } = bed();
    await forgotten(async () => {
      noticing('one').began(outage(), () => 3);
      const asked = async (attempt: number) => {
        const [activity] = (await workflow.describe()).raw.pendingActivities!;
        expect(activity!.attempt).toBeGreaterThanOrEqual(attempt);
        return String(activity!.heartbeatDetails!.payloads![0]!.data);
      };
      const first = await eventually(() => asked(2));
      expect(first).toContain('unknownSince');
      expect(await eventually(() => asked(4))).toBe(first);
      await workflow.terminate();
    });
  });

  const outage = () => ({ shard: SHARD, since: Date.now(), reason: 'no answer in time' });

  it('has one workflow and one line in the log, however often and by whomever it is noticed', async () => {
    const { workflow, running, told, noticing } = bed();
    await running(async () => {
      const one = noticing('one');
      const flap = outage();
      one.began(flap, () => 3);
      await eventually(async () =>
        expect(await workflow.query<OutageStatus>(status)).toMatchObject({ keysWaiting: 3 }),
      );
      const { runId } = await workflow.describe();
      one.ended(flap);
      one.began(outage(), () => 4);
      noticing('other').began(outage(), () => 10);
      await eventually(async () => {
        expect(await workflow.query<OutageStatus>(status)).toMatchObject({ keysWaiting: 14 });
      });
      expect((await workflow.describe()).runId).toBe(runId);
      expect(told('does not answer (no answer in time)')).toHaveLength(1);
      await workflow.terminate();
    });
  });

  it('is told of later when Temporal was away as well', async () => {
    const { workflow, running, told, noticing } = bed();
    const [host, port] = stack().temporal.address.split(':') as [string, string];
    const proxy = await startProxy({ target: { host, port: Number(port) } });
    const connection = await Connection.connect({ address: `127.0.0.1:${proxy.port}` });
    onTestFinished(async () => {
      await connection.close();
      await proxy.close();
    });
    proxy.cut();
    const since = Date.now();
    noticing('one', new Client({ connection })).began({ ...outage(), since }, () => 3);
    await eventually(() => expect(told('outage not told of')).not.toEqual([]));
    proxy.restore();
    await running(async () => {
      await eventually(async () => {
        expect(await workflow.query<OutageStatus>(status)).toMatchObject({
          since: new Date(since).toISOString(),
          keysWaiting: 3,
        });
      });
      expect(told(`${SHARD} of link`)).toHaveLength(1);
      await workflow.terminate();
    });
  });
});

it('the webhook is to be told at once by the first word alone that Temporal takes: others may reach the server all the time', async () => {
  const words = (refused: number) => {
    const said: [boolean | undefined, OutageReport['notify']][] = [];
    type Start = { readonly args: readonly [OutageInput]; readonly signalArgs: readonly [OutageReport] };
    const signalWithStart = async (_type: unknown, { args, signalArgs }: Start) => {
      said.push([args[0].notify, signalArgs[0].notify]);
      if (said.length <= refused) throw new Error('Temporal is away');
      return { signaledRunId: 'run' };
    };
    const client = { signalWithStart, withDeadline: (_at: unknown, work: () => unknown) => work() } as never;
    const logger = loggerInto([]);
    const options = { client, taskQueue: 'q', attribute: new LinkAttribute(logger), identity: 'one', logger };
    const notices = new OutageNotices({ ...options, isNotified: () => true });
    onTestFinished(() => notices.close());
    notices.listenerOf('l').began({ shard: SHARD, since: Date.now(), reason: 'no answer' }, () => 1);
    return said;
  };
  const [taken, refused] = [words(0), words(1)];
  const atOnce = [true, 'now'];
  // The pause between two words.
  await eventually(() =>
    expect([taken.slice(0, 2), refused.slice(0, 2)]).toEqual([
      [atOnce, [undefined, 'when-long']],
      [atOnce, atOnce],
    ]),
  );
});
