/**
 * Watches the engine's calls on the two sides of a link, and proves for each repair, by plain reads
 * of its own:
 * - what it writes was read from the source after the target had been observed;
 * - where the target has changed since it was observed, nothing is written. Without that, a newer
 *   write could be undone for a moment, until the engine's second look at the source mends it.
 */
import type { Redis } from 'ioredis';
import type { RedisPort } from '../../src/redis/index.js';
import { portWith, type TestLink } from './link.js';

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
    <Request, Rest extends unknown[], State>(
      method: (requests: readonly Request[], ...rest: Rest) => Promise<State[]>,
      partOf: (request: Request) => Part,
    ) =>
    (requests: readonly Request[], ...rest: Rest) =>
      undisturbed(async () => {
        const states = await method(requests, ...rest);
        const contents = await contentsOf(target, requests.map(partOf));
        sequence += 1;
        states.forEach((state, index) => {
          observations.set(state as object, { sequence, content: contents[index]! });
        });
        return states;
      });

  const repairing =
    <Repair extends Part & { readonly observed: object }, Rest extends unknown[], Outcome>(
      method: (repairs: readonly Repair[], ...rest: Rest) => Promise<Outcome[]>,
    ) =>
    (repairs: readonly Repair[], ...rest: Rest) =>
      undisturbed(async () => {
        const contents = await contentsOf(target, repairs);
        const outcomes = await method(repairs, ...rest);
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
    <Request extends Part, Rest extends unknown[], Answer>(
      method: (requests: readonly Request[], ...rest: Rest) => Promise<Answer[]>,
    ) =>
    (requests: readonly Request[], ...rest: Rest) => {
      sequence += 1;
      for (const { key } of requests) readAt.set(nameOf(key), sequence);
      return method(requests, ...rest);
    };

  const { source, target: repaired } = sides;
  return {
    violations,
    sides: {
      source: watched(source, {
        read: reading(source.read.bind(source)),
        readMembers: reading(source.readMembers.bind(source)),
      }),
      target: watched(repaired, {
        inspect: observing(repaired.inspect.bind(repaired), (key) => ({ key })),
        inspectMembers: observing(repaired.inspectMembers.bind(repaired), (request) => request),
        repair: repairing(repaired.repair.bind(repaired)),
        repairMembers: repairing(repaired.repairMembers.bind(repaired)),
      }),
    },
  };
}

/** Without a budget all are admitted; the admitted port must be watched as well. */
function watched(port: RedisPort, methods: Partial<RedisPort>): RedisPort {
  const watching = portWith(port, {
    ...methods,
    admit: async (requests) => ({ kind: 'admitted', keys: requests.length, port: watching, done: () => 0 }),
  });
  return watching;
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
