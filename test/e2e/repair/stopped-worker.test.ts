/**
 * A worker that stands still in the middle of an attempt, after it has read the source and before
 * its write has reached the target. Meanwhile the source becomes what the target has, and another
 * worker finds them equal. Then it goes on, with what it has read long ago.
 */
import { expect, it, type TestContext } from 'vitest';
import { scripts } from '../../../src/redis/scripts/script.js';
import { compareRedis } from '../../support/compare.js';
import { eventually } from '../../support/eventually.js';
import { createSandbox, type Running, recordOf, type Sandbox } from '../../support/keymend.js';
import { type Relay, startRelay } from '../../support/relay.js';

type Side = 'source' | 'target';

interface Case {
  readonly what: string;
  /** What is in front of the key's value before and after. */
  readonly before: string;
  /** What the source has for the moment in which it is read; null: nothing. */
  readonly between: string | null;
  /** From which text on the worker's bytes are held, and on the way to whom. */
  readonly held: { readonly text: string; readonly to: Side };
  /** Whether they arrive while it stands still, so that it finds the answer when it goes on. */
  readonly answered: boolean;
  /** How its attempt is lost: with its workflow task, or by its heartbeats. */
  readonly attempt: 'local' | 'durable';
}

const LONG = 'x'.repeat(2 << 20);

const CASES: readonly Case[] = [
  {
    what: 'a write that it has not sent yet',
    before: 'X',
    between: 'A',
    // Behind the reading: what was read is not believed before the role is known.
    held: { text: 'ROLE', to: 'source' },
    answered: true,
    attempt: 'local',
  },
  {
    what: 'a delete that it has not sent yet',
    before: 'X',
    between: null,
    held: { text: 'DBSIZE', to: 'source' },
    answered: true,
    attempt: 'local',
  },
  {
    what: 'a write that is on its way',
    before: 'X',
    between: 'A',
    held: { text: scripts.repair.sha, to: 'target' },
    answered: false,
    attempt: 'local',
  },
  {
    what: 'a large value that is to take the place of the old one',
    before: `X${LONG}`,
    between: `A${LONG}`,
    // Of the transaction that puts it in its place.
    held: { text: 'MULTI', to: 'target' },
    answered: false,
    attempt: 'durable',
  },
];

/** A net: the server gives tasks to the worker that stands still, and waits for each. */
const LOST_TASKS_MS = 900_000;

interface Bed {
  readonly sandbox: Sandbox;
  readonly relays: Readonly<Record<Side, Relay>>;
  readonly stopped: Running;
}

async function createBed({ onTestFinished }: TestContext): Promise<Bed> {
  const sandbox = await createSandbox();
  onTestFinished(() => sandbox.close());
  const relays = { source: await startRelay(sandbox.source.port), target: await startRelay(sandbox.target.port) };
  onTestFinished(() => {
    for (const relay of Object.values(relays)) relay.close();
  });
  const url = (side: Side) => ({ url: `redis://127.0.0.1:${relays[side].port}` });
  sandbox.configure({ link: { source: url('source'), target: url('target') } });
  const stopped = await sandbox.start('worker');
  sandbox.configure({});
  await sandbox.start('bridge');
  return { sandbox, relays, stopped };
}

async function set(sandbox: Sandbox, side: Side, value: string | null): Promise<void> {
  const { client } = sandbox[side];
  await (value === null ? client.del('k') : client.set('k', value));
}

/** Reconciles another key, whoever does it. */
async function reconcileOther(sandbox: Sandbox, key: string, value = 'v'): Promise<void> {
  const { source, target, producer, topic, client, prefix } = sandbox;
  await source.client.set(key, value);
  await producer.send({ topic, messages: [recordOf(key)] });
  await eventually(async () => expect(await target.client.get(key)).toBe(value));
  await client.workflow.getHandle(prefix + key).result();
}

// At once: most of the time each waits until the server takes an attempt for lost.
it.concurrent.for(CASES)(
  'puts nothing older over what is newer: $what',
  { timeout: LOST_TASKS_MS },
  async ({ before, between, held, answered, attempt }, context) => {
    const { sandbox, relays, stopped } = await createBed(context);
    const { source, target, producer, topic, client, prefix } = sandbox;
    const handle = client.workflow.getHandle(`${prefix}k`);
    // Its servers know the scripts then: a call by name alone does what it says.
    await reconcileOther(sandbox, 'first');
    await reconcileOther(sandbox, 'first large', LONG);
    for (const side of ['source', 'target'] as const) await set(sandbox, side, before);
    await set(sandbox, 'source', between);

    relays[held.to].holdFrom(held.text);
    await producer.send({ topic, messages: [recordOf('k')] });
    await relays[held.to].held();
    stopped.process.kill('SIGSTOP');
    if (answered) relays[held.to].deliver();
    await set(sandbox, 'source', before);

    const other = await sandbox.start('worker');
    expect(await handle.result()).toMatchObject({ outcome: 'equal' });
    const { events } = await handle.fetchHistory();
    // Another one, by the other worker, and no further one where it was local.
    const durable = events!.flatMap(({ activityTaskStartedEventAttributes: started }) => (started ? [started] : []));
    if (attempt === 'local') expect(durable).toEqual([]);
    else expect(durable[0]!.attempt).toBeGreaterThan(1);
    await other.stop();

    const watching = target.client.duplicate();
    await watching.watch('k');
    stopped.process.kill('SIGCONT');
    if (!answered) relays[held.to].deliver();
    // It is through with what it had begun when it has done something else.
    await reconcileOther(sandbox, 'last');
    await reconcileOther(sandbox, 'last large', LONG);
    await stopped.stop();
    // Not even for a moment: the key was not written.
    expect(await watching.multi().get('k').exec()).toEqual([[null, before]]);
    watching.disconnect();
    expect(await compareRedis(source.client, target.client)).toEqual([]);
  },
);
