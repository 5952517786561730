/** How many batches are open at most, with a Temporal that says what it is told to. */
import { setTimeout as sleep } from 'node:timers/promises';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { type BatchClient, OpenBatches } from '../../src/bridge/batches/open-batches.js';
import { eventually } from '../support/eventually.js';
import { type LogLine, loggerInto } from './bridge-bed.js';

const MOST = 500;

let ended: Set<string>;
let logs: LogLine[];
let open: OpenBatches;
beforeEach(() => {
  ended = new Set();
  logs = [];
  const describe = (id: string) => async () => ({ status: { name: ended.has(id) ? 'COMPLETED' : 'RUNNING' } });
  const client = {
    getHandle: (id: string) => ({ describe: describe(id) }),
    withDeadline: (_deadline: number, call: () => Promise<unknown>) => call(),
    async *list() {
      for (let index = 0; ; index++) yield { workflowId: `batch-${index}`, memo: { link: 'a' } };
    },
  } as unknown as BatchClient;
  // Else eight at work would be enough.
  open = new OpenBatches({ client, taskQueue: 't', isOut: () => true, logger: loggerInto(logs) });
});
afterEach(() => open.stop());

const said = () => logs.filter(({ level }) => level >= 30).map(({ msg }) => msg);

it(`no more than ${MOST} wait; what comes then waits in the log, says so, and goes on when one has ended`, async () => {
  const { signal } = new AbortController();
  for (let index = 0; index < MOST; index++) {
    await open.withRoom(signal, async () => open.opened(`batch-${index}`, 'a'));
  }
  expect(said()).toEqual([]);
  let hasRoom = false;
  const room = open.withRoom(signal, async () => {
    hasRoom = true;
  });
  expect(said()).toEqual([`${MOST} batches wait; further failed writes stay in the log until one has ended`]);
  // Longer than between two looks.
  await sleep(1_500);
  expect(hasRoom).toBe(false);
  ended.add('batch-7');
  await room;
  expect(open.size).toBe(MOST - 1);
  expect(said()).toHaveLength(2);
  expect(said()[1]).toBe(`over: ${MOST} batches wait`);
});

it('of many that wait, as many go on as have ended', async () => {
  const { signal } = new AbortController();
  const stopping = new AbortController();
  for (let index = 0; index < MOST; index++) {
    await open.withRoom(signal, async () => open.opened(`batch-${index}`, 'a'));
  }
  const opening: string[] = [];
  const waiting = Array.from({ length: 20 }, (_, index) =>
    open.withRoom(stopping.signal, async () => {
      // As long as it takes Temporal.
      await sleep(50);
      if (stopping.signal.aborted) return;
      opening.push(`batch-${MOST + index}`);
      open.opened(`batch-${MOST + index}`, 'a');
    }),
  );
  for (const id of ['batch-3', 'batch-5']) ended.add(id);
  await eventually(() => expect(opening).toHaveLength(2));
  // Longer than between two looks.
  await sleep(1_500);
  expect(opening).toHaveLength(2);
  expect(open.size).toBe(MOST);
  stopping.abort();
  await Promise.all(waiting);
});

it('what is not opened after all leaves its room to others', async () => {
  const { signal } = new AbortController();
  for (let index = 1; index < MOST; index++) {
    await open.withRoom(signal, async () => open.opened(`batch-${index}`, 'a'));
  }
  const refused = open.withRoom(signal, async () => {
    await sleep(50);
    throw new Error('refused');
  });
  const next = open.withRoom(signal, async () => 'opened');
  await expect(refused).rejects.toThrow('refused');
  expect(await next).toBe('opened');
});

it('those that a bridge has left behind count, and no more of them are taken up', async () => {
  await open.adopt();
  expect(open.size).toBe(MOST);
  const stopping = new AbortController();
  const room = open.withRoom(stopping.signal, async () => {});
  await eventually(() => expect(said()).toHaveLength(1));
  stopping.abort();
  await room;
});
