/**
 * A source and a target for tests of the engine: two real servers, ports on them, and hooks between
 * the engine's steps.
 */
import {
  type KeyRequest,
  type KeyResult,
  LinkMemory,
  type LinkSides,
  type ReconcileOptions,
  reconcileKeys,
} from '../../src/engine/index.js';
import { connectRedis, type LargeValues, type RedisPort } from '../../src/redis/index.js';
import { type RedisOptions, type RedisServer, startRedis } from '../support/redis.js';

export const DEFAULT_OPTIONS: ReconcileOptions = {
  expiryToleranceMs: 100,
  deleteGuard: { minimumRatio: 0.5, minimumGap: 10 },
};

export interface TestLink {
  readonly source: RedisServer;
  readonly target: RedisServer;
  readonly sides: LinkSides;
  /** Reconciles one key and answers with its result. */
  reconcile(key: string | Buffer, options?: Partial<ReconcileOptions & Omit<KeyRequest, 'key'>>): Promise<KeyResult>;
  /** Empties both sides. */
  clear(): Promise<void>;
  stop(): Promise<void>;
}

/** @param options for each side, as those of `startRedis`, and for the connections of the engine */
export async function startLink(
  sourceArgs: string[] = [],
  targetArgs: string[] = [],
  options: { source?: RedisOptions; target?: RedisOptions; largeValues?: LargeValues } = {},
): Promise<TestLink> {
  const [source, target] = await Promise.all([
    startRedis(sourceArgs, options.source),
    startRedis(targetArgs, options.target),
  ]);
  // No test wants these connections to give up: that takes so long that a busy machine does not get
  // there either.
  const limits = { commandTimeoutMs: 30_000, ...(options.largeValues && { largeValues: options.largeValues }) };
  const sides = {
    source: connectRedis({ url: source.url }, { ...limits, name: 'source' }),
    target: connectRedis({ url: target.url }, { ...limits, name: 'target' }),
  };
  return {
    source,
    target,
    sides,
    reconcile: (key, options) => reconcileOne(sides, key, options),
    async clear() {
      await Promise.all([source.client.flushall(), target.client.flushall()]);
    },
    async stop() {
      await Promise.all([sides.source.close(), sides.target.close()]);
      await Promise.all([source.stop(), target.stop()]);
    },
  };
}

export async function reconcileOne(
  sides: TestLink['sides'],
  key: string | Buffer,
  { allowDelete, scope, ...options }: Partial<ReconcileOptions & Omit<KeyRequest, 'key'>> = {},
): Promise<KeyResult> {
  const request: KeyRequest = {
    key: Buffer.from(key as Buffer),
    ...(allowDelete !== undefined && { allowDelete }),
    ...(scope && { scope }),
  };
  const [result] = await reconcileKeys(sides, [request], { ...DEFAULT_OPTIONS, ...options });
  return result!;
}

/** The sides with a new memory, as one call of the engine gets them. */
export function withMemory({ source, target }: LinkSides): Required<LinkSides> {
  return { source, target, memory: new LinkMemory({ source, target }) };
}

/** Which methods a step of the protocol stands for. */
const STEPS = {
  inspect: 'inspect',
  inspectMembers: 'inspect',
  scanMembers: 'inspect',
  read: 'read',
  readRecipes: 'read',
  readMembers: 'read',
  repair: 'repair',
  rebuild: 'repair',
  repairMembers: 'repair',
  health: 'health',
} as const satisfies Partial<Record<keyof RedisPort, string>>;

type Step = (typeof STEPS)[keyof typeof STEPS];
/** Awaited; is told how often it was called before. */
type Hook = (call: number) => unknown;
type AnyMethod = (...args: unknown[]) => Promise<unknown>;

/** The same port, with something happening before or after its steps. */
export function intercept(
  port: RedisPort,
  hooks: { readonly [When in `before ${Step}` | `after ${Step}`]?: Hook },
): RedisPort {
  const calls = new Map<string, number>();
  const run = async (when: `before ${Step}` | `after ${Step}`) => {
    const call = calls.get(when) ?? 0;
    calls.set(when, call + 1);
    await hooks[when]?.(call);
  };
  const hooked = (port: RedisPort): RedisPort => {
    const steps = Object.entries(STEPS).map(([name, step]) => {
      const method = (port[name as keyof typeof STEPS] as AnyMethod).bind(port);
      const withHooks = async (...args: unknown[]) => {
        await run(`before ${step}`);
        const result = await method(...args);
        await run(`after ${step}`);
        return result;
      };
      return [name, withHooks];
    });
    return portWith(port, {
      ...Object.fromEntries(steps),
      async admit(...args) {
        const admission = await port.admit(...args);
        return 'port' in admission ? { ...admission, port: hooked(admission.port) } : admission;
      },
    });
  };
  return hooked(port);
}

/**
 * A source with something that happens at its last look before a value of another type is swapped:
 * the one at type and expiry alone.
 */
export function atLastLook(
  source: RedisPort,
  { before, behind }: { before?: () => Promise<unknown>; behind?: () => Promise<unknown> },
): RedisPort {
  return portWith(source, {
    async readMembers(requests) {
      const isLast = requests.every(({ members }) => members.length === 0);
      if (isLast) await before?.();
      const readings = await source.readMembers(requests);
      if (isLast) await behind?.();
      return readings;
    },
  });
}

/**
 * The same port but for some of its methods. All others are the port's own: they get every argument
 * that they are called with.
 */
export function portWith(port: RedisPort, methods: Partial<RedisPort>): RedisPort {
  return new Proxy(port, {
    get(target, name) {
      if (Object.hasOwn(methods, name)) return methods[name as keyof RedisPort];
      const value: unknown = Reflect.get(target, name, target);
      return typeof value === 'function' ? value.bind(target) : value;
    },
  });
}

/** Runs a hook at its first call only. */
export function once(hook: () => unknown): Hook {
  return (call) => (call === 0 ? hook() : undefined);
}

/** Counts what was written on a server since `resetWrites`, by command; scripts included. */
export async function writesOn(server: RedisServer): Promise<Record<string, number>> {
  const stats = await server.client.info('commandstats');
  const counted = ['restore', 'unlink', 'del', 'pexpireat', 'persist', 'rename', 'hset', 'hpexpireat'];
  return Object.fromEntries(
    [...stats.matchAll(/cmdstat_(\w+):calls=(\d+)/g)]
      .filter(([, command]) => counted.includes(command!))
      .map(([, command, calls]) => [command!, Number(calls)]),
  );
}

export async function resetWrites(server: RedisServer): Promise<void> {
  await server.client.config('RESETSTAT');
}
