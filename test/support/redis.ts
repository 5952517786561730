/** Real Redis servers for tests: one process each, on a free port, gone when the test is. */
import { type ChildProcess, spawn } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Redis } from 'ioredis';
import { isFree } from '../../src/stack/processes/ports.js';

export interface RedisServer {
  readonly url: string;
  readonly port: number;
  /** A client for the test itself, apart from the code under test. */
  readonly client: Redis;
  /**
   * Pauses the process (SIGSTOP), so that it neither answers nor closes connections; `thaw` lets it
   * go on.
   */
  freeze(): void;
  thaw(): void;
  stop(): Promise<void>;
}

const PORTS_OF_A_WORKER = 2_000;
const FIRST_PORT = 12_000 + (Number(process.env.VITEST_POOL_ID ?? 0) % 4) * PORTS_OF_A_WORKER;
let nextPort = Math.floor(Math.random() * PORTS_OF_A_WORKER);

/**
 * Of this test file alone, and none that the system gives out by itself: whoever asks later for any
 * port does not get one of which the server is stopped for a while, or that is to stay empty.
 */
export async function freePort(): Promise<number> {
  for (;;) {
    const port = FIRST_PORT + (nextPort++ % PORTS_OF_A_WORKER);
    if (await isFree(port)) return port;
  }
}

export interface RedisOptions {
  /** Another redis-server. */
  readonly binary?: string;
  /** A given port: a restart of the same address. */
  readonly port?: number;
  /** Added to the environment of the process. */
  readonly environment?: NodeJS.ProcessEnv;
}

/**
 * Starts a server without persistence and waits until it answers.
 * @param extra further arguments of redis-server
 */
export async function startRedis(extra: readonly string[] = [], options: RedisOptions = {}): Promise<RedisServer> {
  if (options.port !== undefined) return startRedisAt(options.port, extra, options);
  for (let attempt = 1; ; attempt++) {
    try {
      return await startRedisAt(await freePort(), extra, options);
    } catch (error) {
      // A port that was free may be taken when the server comes to it.
      if (!(error instanceof EndedAtOnce) || attempt === 3) throw error;
    }
  }
}

class EndedAtOnce extends Error {}

async function startRedisAt(port: number, extra: readonly string[], options: RedisOptions): Promise<RedisServer> {
  const directory = mkdtempSync(join(tmpdir(), 'keymend-redis-'));
  const usual = [
    ...['--port', `${port}`, '--bind', '127.0.0.1', '--save', '', '--appendonly', 'no', '--dir', directory],
    // Else a replica waits 5 s for its first copy, in case that there are more.
    ...['--repl-diskless-sync-delay', '0'],
  ];
  const child: ChildProcess = spawn(options.binary ?? 'redis-server', [...usual, ...extra], {
    stdio: 'ignore',
    env: { ...process.env, ...options.environment },
  });
  const exited = new Promise<void>((resolve) => child.once('exit', () => resolve()));
  // A test run that dies must not leave servers behind.
  const killOnExit = () => child.kill('SIGKILL');
  process.once('exit', killOnExit);
  const client = new Redis(port, '127.0.0.1', { protocol: 2, retryStrategy: () => 50, maxRetriesPerRequest: null });
  client.on('error', () => {});
  const stop = async () => {
    process.removeListener('exit', killOnExit);
    client.disconnect();
    child.kill('SIGCONT');
    child.kill('SIGKILL');
    await exited;
    rmSync(directory, { recursive: true, force: true });
  };
  try {
    await Promise.race([
      client.ping().catch((error: unknown) => {
        if (!String(error).includes('NOAUTH')) throw error;
      }),
      exited.then(() => Promise.reject(new EndedAtOnce(`redis-server on port ${port} ended at once`))),
    ]);
  } catch (error) {
    await stop();
    throw error;
  }
  return {
    url: `redis://127.0.0.1:${port}`,
    port,
    client,
    freeze: () => child.kill('SIGSTOP'),
    thaw: () => child.kill('SIGCONT'),
    stop,
  };
}
