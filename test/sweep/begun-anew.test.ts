/** Servers that change in the middle of a sweep, with stand-ins for them: it is to the page. */
import { expect, test } from 'vitest';
import type { LinkSides } from '../../src/engine/index.js';
import type { PageDigest, RedisPort } from '../../src/redis/index.js';
import type { SweepPart, SweepState } from '../../workflows/sweep-messages.js';
import { swept } from './bed.js';

const KEYS = { A: ['a0', 'a1', 'a2', 'a3'], B: ['b0', 'b1', 'b2', 'b3'] };
const PER_PAGE = 2;

const digest = (keys: readonly Buffer[]): PageDigest => ({
  digest: keys.join(),
  expiries: null,
  fieldExpiry: null,
  large: [],
  count: keys.length,
});

/**
 * Two masters on the source, one server on the target, which may fail over at the last page of A.
 */
function sides({ failsOver = true } = {}): LinkSides & { readonly compared: string[] } {
  let target = { server: 'T1', connections: 1 };
  const compared: string[] = [];
  const source = {
    place: 'source',
    connections: 1,
    keyServers: async () =>
      Object.keys(KEYS).map((place) => ({ place, server: place, keys: 4, slots: [[0, 1]], moving: [] })),
    shardsOf: async (keys: Buffer[]) => keys.map((key) => String(key)[0]!.toUpperCase()),
    async scanKeys(place: 'A' | 'B', { cursor }: { cursor: string }) {
      const first = Number(cursor);
      if (failsOver && place === 'A' && first > 0) target = { server: 'T2', connections: 2 };
      const keys = KEYS[place].slice(first, first + PER_PAGE).map((key) => Buffer.from(key));
      const next = first + PER_PAGE;
      return { cursor: next < KEYS[place].length ? `${next}` : '0', keys, own: 0, digest: digest(keys) };
    },
    digestKeys: async (keys: Buffer[]) => digest(keys),
    absentKeys: async () => [],
  };
  const ofTarget = {
    place: 'target',
    get connections() {
      return target.connections;
    },
    keyServers: async () => [{ place: 'target', server: target.server, keys: 8, slots: [[0, 1]], moving: [] }],
    shardsOf: async (keys: Buffer[]) => keys.map(() => 'target'),
    scanKeys: async () => ({ cursor: '0', keys: [], own: 0, digest: null }),
    absentKeys: async () => [],
    async digestKeys(keys: Buffer[]) {
      for (const key of keys) compared.push(`${target.server} ${key}`);
      return digest(keys);
    },
  };
  return { source: source as never as RedisPort, target: ofTarget as never as RedisPort, compared };
}

test('what was compared with the server before is all compared with the one that took over', async () => {
  const first = sides();
  let state: SweepState | undefined;
  const onProgress = (reached: SweepState) => {
    state ??= reached;
  };
  await swept(first, {}, { onProgress });
  // As it is gone on with when A was begun anew, and B is in the middle.
  const parts = state!.parts.map(
    (part): SweepPart =>
      part.place === 'A'
        ? { ...part, cursor: '0', done: false, passed: 0, compared: 0 }
        : { ...part, cursor: '2', done: false, passed: 2, compared: 2 },
  );
  const again = sides();
  const { summary } = await swept(again, {}, { state: { ...state!, parts } });
  const expected = [...KEYS.A, ...KEYS.B].map((key) => `T2 ${key}`);
  expect(new Set(again.compared.filter((each) => each.startsWith('T2')))).toEqual(new Set(expected));
  expect(summary).toMatchObject({ outcome: 'equal', compared: 8 });
});

test('a server that got another address meanwhile is gone on with there', async () => {
  const { state } = await swept(sides({ failsOver: false }));
  const parts = state.parts.map(
    (part): SweepPart => ({ ...part, place: 'before', cursor: '2', done: false, passed: 2, compared: 2 }),
  );
  const again = sides({ failsOver: false });
  const { summary } = await swept(again, {}, { state: { ...state, parts } });
  expect(new Set(again.compared)).toEqual(new Set(['T1 a2', 'T1 a3', 'T1 b2', 'T1 b3']));
  expect(summary).toMatchObject({ outcome: 'equal', compared: 8, redone: 0 });
});

const atTarget = { place: 'target', server: 'T1', slots: [[0, 1]], moving: [] as string[] };

test('counting proves nothing while slots are on their way: their keys may be counted nowhere', async () => {
  const link = sides({ failsOver: false });
  let moving = ['[1->-other]'];
  Object.assign(link.target, {
    keyServers: async () => [{ ...atTarget, keys: 8, moving }],
    async scanKeys() {
      moving = [];
      return { cursor: '0', keys: [], own: 0, digest: null };
    },
  });
  expect((await swept(link)).summary).toMatchObject({ targetOnly: 'scanned' });
});

test('counting proves nothing where a key has gone from both sides while they were counted', async () => {
  const link = sides({ failsOver: false });
  let [asked, gone] = [0, 0];
  const atSource = ['A', 'B'].map((place) => ({ place, server: place, slots: [[0, 1]], moving: [] }));
  Object.assign(link.source, {
    keyServers: async () => atSource.map((server) => ({ ...server, keys: server.place === 'A' ? 4 - gone : 4 })),
  });
  Object.assign(link.target, {
    async keyServers() {
      asked += 1;
      // Before and behind all pages, and to count: the source has answered that by then.
      if (asked === 3) gone = 1;
      return [{ ...atTarget, keys: 9 - gone }];
    },
  });
  expect((await swept(link)).summary).toMatchObject({ targetOnly: 'scanned' });
});
