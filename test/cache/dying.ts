/**
 * Processes that die at any step, in one process: what is run as one that dies reaches neither the
 * database nor Redis any more from that step on, and its transaction goes with its connection.
 */
import { AsyncLocalStorage } from 'node:async_hooks';
import type { Redis } from 'ioredis';
import type { Pool, PoolConnection } from 'mysql2/promise';

export interface Life {
  /** It dies at the last one. */
  stepsLeft: number;
  /** Where it has died. */
  diedAt?: string;
  /** Redis did not answer it, or refused. */
  hadProblem?: boolean;
  /** Called when the database has committed, whether it lives to hear of it or not. */
  committed?: () => void;
}

const lives = new AsyncLocalStorage<Life>();

/** @param life of the process that does this; what it dies of rejects */
export function livingAs<T>(life: Life, work: () => Promise<T>): Promise<T> {
  return lives.run(life, work);
}

/** Give it as `onProblem`. */
export function noteProblem(): void {
  const life = lives.getStore();
  if (life !== undefined) life.hadProblem = true;
}

/** @throws Error where the process has died, or does so now */
function step(name: string): void {
  const life = lives.getStore();
  if (life === undefined) return;
  if (life.diedAt === undefined && --life.stepsLeft < 0) life.diedAt = name;
  if (life.diedAt !== undefined) throw new Error(`it died ${life.diedAt}`);
}

async function done<T>(name: string, work: () => Promise<T>): Promise<T> {
  step(`before ${name}`);
  const result = await work();
  step(`behind ${name}`);
  return result;
}

type Calls = Readonly<Record<string, (...args: unknown[]) => unknown>>;

/** With these in place of its own. */
function having<T extends object>(target: T, calls: Calls): T {
  return new Proxy(target, {
    get(_, name) {
      const own = calls[String(name)];
      if (own !== undefined) return own;
      const value: unknown = Reflect.get(target, name, target);
      return typeof value === 'function' ? value.bind(target) : value;
    },
  });
}

export function dyingRedis(client: Redis): Redis {
  const run = (client as Redis & Calls).evalBuffer!.bind(client) as (...args: unknown[]) => Promise<unknown>;
  const nameOf = (script: string) => (script.includes('UNLINK') ? 'DEL' : script.includes("'load'") ? 'look' : 'fill');
  return having(client, { evalBuffer: (...args) => done(nameOf(String(args[0])), () => run(...args)) });
}

export function dyingPool(pool: Pool): Pool {
  return having(pool, {
    getConnection: async () => {
      step('before BEGIN');
      return dyingConnection(await pool.getConnection());
    },
  });
}

function dyingConnection(connection: PoolConnection): PoolConnection {
  const orDestroyed = async (name: string, work: () => Promise<unknown>) => {
    try {
      return await done(name, work);
    } catch (error) {
      if (lives.getStore()?.diedAt !== undefined) connection.destroy();
      throw error;
    }
  };
  const query = connection.query.bind(connection) as (...args: unknown[]) => Promise<unknown>;
  return having(connection, {
    query: (...args) => orDestroyed(/^\w+/.exec(String(args[0]))![0], () => query(...args)),
    beginTransaction: () => orDestroyed('BEGIN', () => connection.beginTransaction()),
    commit: () => orDestroyed('COMMIT', () => connection.commit().then(lives.getStore()?.committed)),
    rollback: () => orDestroyed('ROLLBACK', () => connection.rollback()),
  });
}
