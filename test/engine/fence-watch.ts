/**
 * Watches the engine's calls on the two sides of a link, and proves for each repair, by plain reads of its own:
 * - what it writes was read from the source after the target had been observed;
 * - where the target has changed since it was observed, nothing is written.
 * Without that, a newer write could be undone for a moment, until the engine's second look at the source mends it.
 */
import type { Redis } from 'ioredis';
import type { RedisPort } from '../../src/redis/index.js';
import type { TestLink } from './link.js';

interface Observation {
  readonly sequence: number;
  readonly content: string;
}

export interface FenceWatch {
  readonly sides: TestLink['sides'];
  /** One line for each repair that was not as it must be. */
  readonly violations: readonly string[];
}

/**
 * @param target a client for the reads
 * @param undisturbed runs work while no live writer does
 */
export function watchFence(
  sides: TestLink['sides'],
  target: Redis,
  undisturbed: <T>(work: () => Promise<T>) => Promise<T>,
): FenceWatch {
  const violations: string[] = [];
  const observations = new WeakMap<object, Observation>();
  const readAt = new Map<string, number>();
  let sequence = 0;

  const observing =
    <Request, State>(method: (requests: readonly Request[]) => Promise<State[]>, partOf: (request: Request) => Part) =>
    (requests: readonly Request[]) =>
      undisturbed(async () => {
        const states = await method(requests);
        const contents = await contentsOf(target, requests.map(partOf));
        sequence += 1;
        states.forEach((state, index) => {
          observations.set(state as object, { sequence, content: contents[index]! });
        });
        return states;
      });

  const repairing =
    <Repair extends Part & { readonly observed: object }, Outcome>(
      method: (repairs: readonly Repair[]) => Promise<Outcome[]>,
    ) =>
    (repairs: readonly Repair[]) =>
      undisturbed(async () => {
        const contents = await contentsOf(target, repairs);
        const outcomes = await method(repairs);
        for (const [index, repair] of repairs.entries()) {
          const observed = observations.get(repair.observed)!;
          if (observed.sequence > readAt.get(nameOf(repair.key))!)
            violations.push('the source was read before the target');
          if (outcomes[index] !== 'changed' && contents[index] !== observed.content) {
            violations.push(`a repair over a newer write: ${outcomes[index]}`);
          }
        }
        return outcomes;
      });

  const reading =
    <Request extends Part, Answer>(method: (requests: readonly Request[]) => Promise<Answer[]>) =>
    (requests: readonly Request[]) => {
      sequence += 1;
      for (const { key } of requests) readAt.set(nameOf(key), sequence);
      return method(requests);
    };

  return {
    violations,
    sides: {
      source: {
        ...passing(sides.source),
        read: reading((requests) => sides.source.read(requests)),
        readMembers: reading((requests) => sides.source.readMembers(requests)),
      },
      target: {
        ...passing(sides.target),
        inspect: observing(
          (keys) => sides.target.inspect(keys),
          (key: Buffer) => ({ key }),
        ),
        inspectMembers: observing(
          (requests) => sides.target.inspectMembers(requests),
          (request) => request,
        ),
        repair: repairing((repairs) => sides.target.repair(repairs)),
        repairMembers: repairing((repairs) => sides.target.repairMembers(repairs)),
      },
    },
  };
}

function passing(port: RedisPort): RedisPort {
  return {
    place: port.place,
    shardsOf: (keys) => port.shardsOf(keys),
    async admit(requests) {
      // Without a budget all are admitted; the admitted port must be watched as well.
      return { kind: 'admitted', keys: requests.length, port: this, done() {} };
    },
    inspect: (keys) => port.inspect(keys),
    read: (requests) => port.read(requests),
    repair: (repairs) => port.repair(repairs),
    readRecipes: (keys) => port.readRecipes(keys),
    rebuild: (rebuilds) => port.rebuild(rebuilds),
    inspectMembers: (requests) => port.inspectMembers(requests),
    readMembers: (requests) => port.readMembers(requests),
    repairMembers: (repairs) => port.repairMembers(repairs),
    scanMembers: (scan) => port.scanMembers(scan),
    server: (key) => port.server(key),
    differingMembers: (key, type, page) => port.differingMembers(key, type, page),
    watch: (key) => port.watch(key),
    get connections() {
      return port.connections;
    },
    clock: (key) => port.clock(key),
    health: (of) => port.health(of),
    check: () => port.check(),
    close: () => port.close(),
  };
}

/** A whole key, or some of its members. */
interface Part {
  readonly key: Buffer;
  readonly members?: readonly Buffer[];
}

function nameOf(key: Buffer): string {
  return key.toString('latin1');
}

/** What the fence has to notice a change of. */
async function contentsOf(redis: Redis, parts: readonly Part[]): Promise<string[]> {
  return Promise.all(
    parts.map(async ({ key, members }) => {
      const [type, expiry] = await Promise.all([redis.type(key), redis.call('PEXPIRETIME', key)]);
      const read = (name: string, ...args: Buffer[]) => redis.callBuffer(name, key, ...args) as Promise<unknown>;
      const cells =
        members === undefined
          ? [await (type === 'string' ? read('GET') : read('DUMP'))]
          : await Promise.all(members.map((member) => readMember(read, type, member)));
      const text = cells.map((cell) => (Buffer.isBuffer(cell) ? cell.toString('latin1') : String(cell)));
      return JSON.stringify([type, expiry, text]);
    }),
  );
}

function readMember(read: (name: string, ...args: Buffer[]) => Promise<unknown>, type: string, member: Buffer) {
  if (type === 'hash') return read('HGET', member);
  if (type === 'set') return read('SISMEMBER', member);
  return type === 'zset' ? read('ZSCORE', member) : Promise.resolve(null);
}
