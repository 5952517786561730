/** Live traffic is no difference; and no page holds a server for long. */
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, afterEach, beforeAll, expect, test } from 'vitest';
import { longestHold } from '../engine/held.js';
import { portWith, startLink, type TestLink } from '../engine/link.js';
import { swept } from './bed.js';

let link: TestLink;
beforeAll(async () => {
  link = await startLink();
});
afterAll(() => link?.stop());
afterEach(() => link.clear());

/** Every command reaches the source, and the target a few ms later, in the same order. */
async function writing(commands: (turn: number) => [string, ...(string | number)[]][], while_: Promise<unknown>) {
  let isOver = false;
  const over = () => {
    isOver = true;
  };
  while_.then(over, over);
  const mirrored: Promise<unknown>[] = [];
  for (let turn = 0; !isOver; turn++) {
    for (const command of commands(turn)) {
      await link.source.client.call(...command);
      mirrored.push(sleep(3).then(() => link.target.client.call(...command)));
    }
    if (mirrored.length > 200) await Promise.all(mirrored.splice(0));
  }
  await Promise.all(mirrored);
  return while_;
}

test('under live writers nothing is invented, and what differs is found beside them', async () => {
  const { source, target, sides } = link;
  const values = Object.fromEntries(Array.from({ length: 4_000 }, (_, index) => [`user:${index}`, 'value']));
  await Promise.all([source.client.mset(values), target.client.mset(values)]);
  await target.client.del('user:7');
  await target.client.set('user:8', 'other');
  await target.client.set('target:1', 'alone');
  const random = (below: number) => Math.floor(Math.random() * below);
  const expiresAt = Date.now() + 3_600_000;
  const sweep = swept(sides, { rate: 8_000 }, { settleMs: 100 });
  await writing(
    (turn) => [
      // Some keys all the time, and one that goes back and forth between two values.
      ['SET', `hot:${turn % 5}`, turn],
      ['SET', 'toggles', turn % 2],
      ['HINCRBY', 'hash', `field ${random(10)}`, 1],
      // At a time: on a busy machine it may reach the target much later.
      ['SET', `new:${turn}`, 'value', 'PXAT', expiresAt],
      turn % 3 === 0 ? ['DEL', `new:${random(turn + 1)}`] : ['SET', `user:${100 + random(3_000)}`, turn],
    ],
    sweep,
  );
  const { listed, differing } = (await sweep).summary!;
  expect(listed.map(({ key, difference }) => [key, difference]).sort()).toEqual([
    ['target:1', 'extra'],
    ['user:7', 'missing'],
    ['user:8', 'value'],
  ]);
  expect(differing).toMatchObject({ missing: 1, extra: 1, value: 1, type: 0, expiry: 0 });
});

test('a key that goes back and forth between two values is no difference, whatever is met of it', async () => {
  const keys = Array.from({ length: 2_000 }, (_, index) => `toggles:${index}`);
  const anyOf = () => keys.flatMap((key) => [key, Math.random() < 0.5 ? 'on' : 'off']);
  await link.source.client.mset(anyOf());
  const sweep = swept(link.sides, {}, { settleMs: 100 });
  await writing(() => [['MSET', ...anyOf()]], sweep);
  expect((await sweep).summary).toMatchObject({ listed: [], failed: 0, compared: keys.length });
});

test.each([
  ['hash', 'HSET', (turn: number) => [`member ${turn % 12_000}`, turn]],
  ['list', 'RPUSH', (turn: number) => [turn]],
] as const)(
  'a large %s that is written all the time is no difference, whatever is seen of it',
  async (_, command, args) => {
    const members = Array.from({ length: 12_000 }, (_, index) => [`member ${index}`, 'value']).flat();
    await Promise.all([link.source, link.target].map(({ client }) => client.call(command, 'large', ...members)));
    const sweep = swept(link.sides, {}, { settleMs: 100 });
    await writing((turn) => [[command, 'large', ...args(turn)]], sweep);
    const { summary } = await sweep;
    expect(summary).toMatchObject({ listed: [], failed: 0, compared: 1 });
    expect(summary!.unsettled).toBeLessThanOrEqual(1);
  },
);

test('no page holds a server for long, whatever its keys hold', async () => {
  const { source, target, sides } = link;
  for (const { client } of [source, target]) {
    const pipeline = client.pipeline();
    const elements = Array.from({ length: 4_900 }, (_, index) => `element ${index}`);
    for (let index = 0; index < 30; index++) {
      pipeline.sadd(`set:${index}`, ...elements);
      pipeline.hset(`hash:${index}`, ...elements);
      pipeline.rpush(`list:${index}`, ...elements);
      pipeline.set(`string:${index}`, 'x'.repeat(900_000));
    }
    for (let index = 0; index < 3_000; index++) pipeline.set(`user:${index}`, 'value'.repeat(100));
    await pipeline.exec();
  }
  const longest = await longestHold([source, target], 25, async () => {
    expect((await swept(sides)).summary).toMatchObject({ outcome: 'equal', compared: 3_120 });
  });
  expect(longest.ms, longest.text).toBeLessThan(25);
});

test('many large values on one page hold no server either: to learn how large each is costs time, too', async () => {
  const { source, target, sides } = link;
  const fields = Array.from({ length: 6_000 }, (_, index) => [`field ${index}`, 'v']).flat();
  for (const { client } of [source, target]) {
    await client.hset('hash:0', ...fields);
    const value = await client.dumpBuffer('hash:0');
    for (let index = 1; index < 400; index++) await client.restore(`hash:${index}`, 0, value!);
  }
  const keys = Array.from({ length: 400 }, (_, index) => Buffer.from(`hash:${index}`));
  const longest = await longestHold([source, target], 25, async () => {
    const page = await sides.source.scanKeys(source.url.replace('redis://', ''), {
      cursor: '0',
      count: 500,
      digested: true,
    });
    expect(page).toMatchObject({ cursor: expect.any(String) });
    await sides.target.inspect(keys);
  });
  expect(longest.ms, longest.text).toBeLessThan(25);
});

test('keys that are long hold no server: fewer of them make a page', async () => {
  const { source, target, sides } = link;
  for (const { client } of [source, target]) {
    const pipeline = client.pipeline();
    for (let index = 0; index < 200; index++) pipeline.set(`${index}`.padEnd(65_000, 'x'), 'v');
    await pipeline.exec();
  }
  await source.client.del('7'.padEnd(65_000, 'x'));
  const longest = await longestHold([source, target], 25, async () => {
    expect((await swept(sides)).summary).toMatchObject({ compared: 200, differing: { extra: 1 } });
  });
  expect(longest.ms, longest.text).toBeLessThan(25);
});

test('what became equal between being compared and being seen is no difference', async () => {
  const { source, target, sides } = link;
  await source.client.set('user:1', 'new');
  await target.client.set('user:1', 'old');
  // The write arrives when the engine has just found the difference, before it is said what it is.
  const ofTarget = portWith(sides.target, {
    async inspect(keys, options) {
      const isSecond = options?.atMaster === true && ++inspected === 2;
      if (isSecond) await target.client.set('user:1', 'new');
      return sides.target.inspect(keys, options);
    },
  });
  let inspected = 0;
  const { summary } = await swept({ ...sides, target: ofTarget });
  expect(summary).toMatchObject({ outcome: 'equal', listed: [] });
});
