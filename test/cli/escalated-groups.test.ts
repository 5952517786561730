/** Escalated keys in groups: what is counted in time, and what is not. More than are looked at. */
import { Client, Connection } from '@temporalio/client';
import { ulid } from 'ulid';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { describeGroups, groupReport } from '../../src/cli/escalated/group-lines.js';
import { escalatedGroups } from '../../src/cli/escalated/groups.js';
import { type InTime, inTime } from '../../src/cli/escalated/in-time.js';
import { withPrefixes } from '../../src/cli/escalated/prefixes.js';
import { escalatedQuery } from '../../src/cli/escalated/query.js';
import type { Filters } from '../../src/cli/usage/filters.js';
import { parseConfig } from '../../src/config.js';
import { NET_MS, until } from '../support/eventually.js';
import { stack } from '../support/services.js';
import { startEscalated } from '../support/stub-worker.js';

const LINK = `link-${ulid()}`;
const START = `${LINK}/`;
/** Oldest first: the newest hundred, which are looked at first, are sessions alone. */
const KEYS: readonly [error: string, start: string, keys: number][] = [
  ['NoPermission', 'cart:', 4],
  ['Contended', 'user:', 102],
  ['Contended', 'User:', 3],
  ['TargetReadOnly', 'audit:', 7],
  ['TargetReadOnly', '', 2],
  ['TargetReadOnly', 'session:', 110],
  ['TargetReadOnly', 'session:mail:', 5],
];
const ALL = KEYS.reduce((sum, [, , keys]) => sum + keys, 0);

let client: Client;
beforeAll(async () => {
  client = new Client({ connection: await Connection.connect({ address: stack().temporal.address }) });
  for (const [error, start, count] of KEYS) {
    const keys = Array.from({ length: count }, (_, at) => ({ workflowId: `${START}${start}${100 + at}`, error }));
    await startEscalated(client, { link: LINK, taskQueue: LINK }, keys);
  }
  await until(async () => (await client.workflow.count(`KeymendLink = "${LINK}"`)).count === ALL);
}, NET_MS);
afterAll(() => client?.connection.close());

function configOf(more: object = {}) {
  const redis = { source: { url: 'redis://a' }, target: { url: 'redis://b' } };
  const links = [{ name: LINK, workflowIdPrefix: START, ...redis, ...more }];
  return parseConfig(JSON.stringify({ intake: 'redis-stream', links }), 'a test', {});
}

async function groupsOf(inTime: InTime, filters: Filters = {}, config = configOf()) {
  const { query } = escalatedQuery(config, { link: LINK, ...filters });
  return withPrefixes(client, config, await escalatedGroups(client, query, inTime), inTime);
}

const RETRY = `npx keymend retry --escalated --link ${LINK} --error`;
const inAMinute = () => inTime(60_000);
/** Of the questions that share one time, only so many are answered. */
function answering(most: number): InTime {
  let asked = 0;
  return async (work) => (++asked > most ? null : work());
}

it('counts what keys begin with, also what the newest do not, and says the command for each', async () => {
  const groups = await groupsOf(inAMinute(), { error: 'TargetReadOnly' });
  expect(groupReport(groups, {})).toMatchObject({
    total: 124,
    groups: [
      {
        keys: 124,
        prefixes: [
          { prefix: 'session:', keys: 115, next: `${RETRY} TargetReadOnly --prefix session:` },
          { prefix: 'audit:', keys: 7, next: `${RETRY} TargetReadOnly --prefix audit:` },
          { prefix: 'session:mail:', keys: 5, next: `${RETRY} TargetReadOnly --prefix session:mail:` },
        ],
        otherKeys: 2,
        next: `${RETRY} TargetReadOnly`,
      },
    ],
    others: 0,
  });
  expect(describeGroups(groups, {}).slice(2)).toEqual([
    '      keys begin with: session: 115, audit: 7, session:mail: 5, 2 with something else',
    expect.any(String),
    `      then: ${RETRY} TargetReadOnly`,
    ...['session:', 'audit:', 'session:mail:'].map(
      (start) => `      or only: ${RETRY} TargetReadOnly --prefix ${start}`,
    ),
  ]);
});

it('a command never means more than the filters left', async () => {
  const filters = { error: 'TargetReadOnly', prefix: 'session:m' };
  const commands = describeGroups(await groupsOf(inAMinute(), filters), filters).slice(4);
  expect(commands).toEqual([`      then: ${RETRY} TargetReadOnly --prefix session:m`]);
});

it('what a store may not tell apart is not counted', async () => {
  const found = await groupsOf(inAMinute(), { error: 'Contended' });
  const { groups } = found;
  const prefixes = [
    expect.objectContaining({ prefix: 'user:', keys: null }),
    { prefix: 'User:', keys: null, sample: 3, isTwin: true },
  ];
  expect(groups).toMatchObject([{ keys: 105, prefixes, otherKeys: null }]);
  // However long one waits.
  expect(describeGroups(found, {}).join('\n')).not.toContain('not all is counted yet');
});

it('says nothing of beginnings where workflow IDs do not show keys', async () => {
  const groups = await groupsOf(inAMinute(), {}, configOf({ workflowIdSecret: 'x'.repeat(32) }));
  expect(groups.groups.map(({ keys, prefixes }) => [keys, prefixes])).toEqual([
    [124, []],
    [105, []],
    [4, []],
  ]);
  expect(describeGroups(groups, {}).join('\n')).not.toContain('begin with');
});

it('where nothing is counted in time it says what is there at least, and how to have the rest', async () => {
  const groups = await groupsOf(answering(0));
  expect(groupReport(groups, {})).toMatchObject({ total: null, groups: [{ keys: null, sample: 101 }], others: null });
  expect(describeGroups(groups, {})).toEqual([
    'keys are escalated, so many that they are not counted yet',
    `  at least 101  TargetReadOnly  (link ${LINK})`,
    '      keys begin with: session: at least 101, session:mail: at least 5, perhaps others',
    expect.any(String),
    `      then: ${RETRY} TargetReadOnly`,
    `      or only: ${RETRY} TargetReadOnly --prefix session:`,
    `      or only: ${RETRY} TargetReadOnly --prefix session:mail:`,
    '  and perhaps more of other kinds',
    'not all is counted yet: `keymend escalations --groups` takes the time',
  ]);
});

it('a total that came in time is said, and of what is left how much is not known', async () => {
  const groups = await groupsOf(answering(1));
  expect(groups).toMatchObject({ total: ALL, others: null });
  const lines = describeGroups(groups, {});
  expect(lines[0]).toBe(`${ALL} keys escalated`);
  expect(lines.at(-1)).toBe('not all is counted yet: `keymend escalations --groups` takes the time');
});

it('an answer that comes too late, or fails, is not known', async () => {
  const soon = inTime(50);
  expect(await soon(async () => 'there')).toBe('there');
  expect(await soon(() => Promise.reject(new Error('refused')))).toBeNull();
  expect(await soon(() => new Promise(() => {}))).toBeNull();
  const never = () => Promise.reject(new Error('asked for nothing'));
  expect(await soon(never)).toBeNull();
});
