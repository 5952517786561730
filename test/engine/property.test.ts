/**
 * The engine against a model of production: any writes on the source, mirrored with losses,
 * duplicates, delays and reorders; then keys are reconciled in any order, as a whole or in the part
 * that their failed writes name, while live writers go on between the engine's steps. In the end an
 * independent comparison must find no difference, and one more reconcile nothing to do.
 *
 * The target encodes everything differently from the source, so that equal DUMPs are the exception.
 * fast-check prints seed and path of a failure: give them to `fc.assert` to see it again.
 */
import * as fc from 'fast-check';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { type KeyRequest, type KeyResult, reconcileKeys, type Scope } from '../../src/engine/index.js';
import { generatedCases } from '../support/cases.js';
import { compareRedis } from '../support/compare.js';
import { differingPart } from './differing-part.js';
import { watchFence } from './fence-watch.js';
import { DEFAULT_OPTIONS, intercept, resetWrites, startLink, type TestLink, writesOn } from './link.js';
import { type Accepted, MirrorModel } from './mirror-model.js';
import { type PlannedWrite, PlannedWriters } from './planned-writers.js';
import { anyWrite, COMMANDS, type Command, KEYS, toAndFro, writesOfOneType } from './random-writes.js';

/** How the target gets a write: in its place, never, a second time later, or only later. */
type Fate = { readonly kind: 'mirrored' | 'lost' } | { readonly kind: 'twice' | 'late'; readonly by: number };

const fate: fc.Arbitrary<Fate> = fc.oneof(
  { weight: 6, arbitrary: fc.constant<Fate>({ kind: 'mirrored' }) },
  { weight: 2, arbitrary: fc.constant<Fate>({ kind: 'lost' }) },
  { weight: 1, arbitrary: fc.record({ kind: fc.constantFrom('twice' as const, 'late' as const), by: fc.nat(8) }) },
);
const commands = (write: fc.Arbitrary<Command>, maxLength: number) =>
  fc.array(fc.tuple(write, fate), { maxLength, minLength: 1 });
const liveWrites = (write: fc.Arbitrary<Command>, maxLength: number, latest: number, longest: number) =>
  fc.array(
    fc.record<PlannedWrite>({
      command: write,
      at: fc.nat(latest),
      lag: fc.nat(longest),
      lost: fc.nat(4).map((dice) => dice === 0),
    }),
    { maxLength },
  );
const around = {
  damage: fc.array(anyWrite, { maxLength: 4 }),
  order: fc.shuffledSubarray([...KEYS], { minLength: KEYS.length }),
  /** Keys that a second call takes as well, at the same time. */
  alsoBy: fc.subarray([...KEYS]),
  oneByOne: fc.boolean(),
};

const scenario = fc.oneof(
  fc.record({ history: commands(anyWrite, 40), live: liveWrites(anyWrite, 12, 12, 6), ...around }),
  writesOfOneType.chain((write) =>
    fc.record({ history: commands(write, 40), live: liveWrites(write, 12, 12, 6), ...around }),
  ),
  // The target missed the way there, and writers go on going to and fro: what was compared can come
  // back before the repair.
  toAndFro.chain(([home, away]) =>
    fc.record({
      ...{ live: liveWrites(fc.constantFrom(home, away), 4, 6, 1), ...around },
      history: fc.constant<[Command, Fate][]>([
        [home, { kind: 'mirrored' }],
        [away, { kind: 'lost' }],
      ]),
      // All at once, so that the moments between the steps are those of this key.
      ...{ damage: fc.constant<Command[]>([]), alsoBy: fc.constant<Buffer[]>([]), oneByOne: fc.constant(false) },
    }),
  ),
);
type Scenario = typeof scenario extends fc.Arbitrary<infer Value> ? Value : never;

let link: TestLink;
beforeAll(async () => {
  link = await startLink(
    [],
    [
      ...['--hash-max-listpack-entries', '1', '--zset-max-listpack-entries', '1', '--set-max-intset-entries', '1'],
      ...['--list-max-listpack-size', '2', '--stream-node-max-entries', '2', '--rdbcompression', 'no'],
    ],
  );
});
afterAll(() => link?.stop());

/** The source in order, then what reaches the target, in the order in which it does. */
async function play(model: MirrorModel, history: Scenario['history']): Promise<void> {
  const deliveries: { place: number; accepted: Accepted }[] = [];
  for (const [place, [command, how]] of history.entries()) {
    const accepted = await model.write(command);
    if (accepted === null) continue;
    if (how.kind === 'mirrored' || how.kind === 'twice') deliveries.push({ place, accepted });
    if (how.kind === 'twice' || how.kind === 'late') deliveries.push({ place: place + how.by + 0.5, accepted });
    if (how.kind !== 'mirrored') model.lose(accepted.write, how.kind === 'lost' ? 'refused' : 'unknown');
  }
  deliveries.sort((one, other) => one.place - other.place);
  for (const { accepted } of deliveries) await model.deliver(accepted);
}

/**
 * What is asked of the engine for a key. A narrow scope is only promised to make the key equal when
 * it covers all that differs; a write whose effect depends on what an earlier loss left behind can
 * differ in more than it names, and then the whole key is asked for.
 */
async function requestFor(model: MirrorModel, key: Buffer, quiet: boolean): Promise<KeyRequest> {
  const scope = model.scope(key);
  if (scope === null || scope.kind === 'whole') return { key };
  return covers(scope, await differingPart(link.source.client, link.target.client, key), quiet)
    ? { key, scope }
    : { key };
}

function covers(
  scope: Scope & { kind: 'members' },
  differing: Awaited<ReturnType<typeof differingPart>>,
  quiet: boolean,
): boolean {
  // Absent on one side, or another type: the engine widens the scope by itself, unless a live
  // writer makes the key anew before it looks.
  if (differing === 'key') return quiet;
  if (differing === 'content') return false;
  return differing.every((member) => scope.members.some((named) => named.equals(member)));
}

async function reconcile(
  requests: readonly KeyRequest[],
  oneByOne: boolean,
  sides: TestLink['sides'] = link.sides,
): Promise<KeyResult[]> {
  if (!oneByOne) return reconcileKeys(sides, requests, DEFAULT_OPTIONS);
  const results: KeyResult[] = [];
  for (const request of requests) results.push(...(await reconcileKeys(sides, [request], DEFAULT_OPTIONS)));
  return results;
}

/** Every failure but one that a key written all the time may have. */
function failures(results: readonly KeyResult[]): KeyResult[] {
  return results.filter((result) => result.outcome === 'failed' && result.error.type !== 'Contended');
}

let narrow = 0;
let live = 0;

async function run({ history, damage, live: planned, order, alsoBy, oneByOne }: Scenario): Promise<void> {
  await link.clear();
  const model = new MirrorModel(link.source.client, link.target.client);
  await play(model, history);
  // Refused on a key of another type, as many writes of the history are.
  for (const [name, ...args] of damage) await link.target.client.callBuffer(name, [...args]).catch(() => {});

  // Nobody reported the damage, so every key is looked at.
  const requests = await Promise.all(order.map((key) => requestFor(model, key, planned.length === 0)));
  narrow += requests.filter(({ scope }) => scope !== undefined).length;
  for (const key of KEYS) model.take(key);
  const writers = new PlannedWriters(model, planned);
  const tick = () => writers.tick();
  const everywhere = {
    ...{ 'before inspect': tick, 'after inspect': tick, 'before read': tick, 'after read': tick },
    ...{ 'before repair': tick, 'after repair': tick },
  };
  const call = () => {
    const watch = watchFence(link.sides, link.target.client, (work) => writers.undisturbed(work));
    const { source, target } = watch.sides;
    return { watch, sides: { source: intercept(source, everywhere), target: intercept(target, everywhere) } };
  };
  const again = requests.filter(({ key }) => alsoBy.includes(key));
  const [first, second] = [call(), call()];
  const results = await Promise.all([
    reconcile(requests, oneByOne, first.sides),
    reconcile(again, false, second.sides),
  ]);
  await writers.finish();
  live += writers.written;
  expect(failures(results.flat())).toEqual([]);
  expect([...first.watch.violations, ...second.watch.violations]).toEqual([]);

  // As in production: what failed meanwhile is reconciled once more, and so is a key that was
  // Contended.
  const contended = [...results[0].entries()].filter(([, { outcome }]) => outcome === 'failed').map(([index]) => index);
  const pending = order.filter((key, index) => model.isPending(key) || contended.includes(index));
  const late = await reconcile(await Promise.all(pending.map((key) => requestFor(model, key, true))), oneByOne);
  expect(late.filter(({ outcome }) => outcome === 'failed')).toEqual([]);
  expect(await compareRedis(link.source.client, link.target.client)).toEqual([]);

  await resetWrites(link.target);
  const further = await reconcile(
    order.map((key) => ({ key })),
    oneByOne,
  );
  expect(further.filter(({ outcome }) => outcome !== 'equal')).toEqual([]);
  expect(await writesOn(link.target)).toEqual({});
}

test.each([
  ['the same cases in every run', { seed: 20_261_120, numRuns: 150 }],
  ['other cases in every run', { numRuns: generatedCases(150) }],
])(
  'after any writes, faults and live writers, reconciling makes both sides equal: %s',
  { timeout: 900_000 },
  async (_name, parameters) => {
    narrow = 0;
    live = 0;
    await fc.assert(fc.asyncProperty(scenario, run), parameters);
    // Else the test would have stopped to test what it says.
    expect(narrow).toBeGreaterThan(parameters.numRuns / 10);
    expect(live).toBeGreaterThan(parameters.numRuns);
  },
);

test('every write command of the server takes part', async () => {
  const writes = (await link.source.client.call('COMMAND', 'LIST', 'FILTERBY', 'ACLCAT', 'write')) as string[];
  const containers = new Set(writes.map((name) => name.split('|')[0]!.toUpperCase()));
  const without = [
    // They do what LMOVE, LMPOP, LPOP, ZMPOP, ZPOPMIN … do, only later.
    ...['BLMOVE', 'BLMPOP', 'BLPOP', 'BRPOP', 'BRPOPLPUSH', 'BZMPOP', 'BZPOPMAX', 'BZPOPMIN'],
    // They concern other databases, servers or all keys at once, or write no key.
    ...['FLUSHALL', 'FLUSHDB', 'FUNCTION', 'MIGRATE', 'MOVE', 'PFDEBUG', 'RESTORE-ASKING', 'SWAPDB'],
  ];
  expect([...containers].filter((name) => !COMMANDS.has(name)).sort()).toEqual(without.sort());
});
