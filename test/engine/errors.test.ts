/** Errors as real servers and real connections give them, one small link per cause. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, describe, expect, test } from 'vitest';
import { reconcileError } from '../../src/engine/errors.js';
import type { ReconcileError } from '../../src/engine/index.js';
import { connectRedis, RedisFailure, type RedisPort } from '../../src/redis/index.js';
import { isPermanent } from '../../workflows/error-types.js';
import type { ErrorType, Stage } from '../../workflows/messages.js';
import { type RedisServer, startRedis } from '../support/redis.js';
import { intercept, once, reconcileOne } from './link.js';

/** As long as no machine takes for an answer, however busy. */
const PATIENT_MS = 60_000;

const cleanups: (() => unknown)[] = [];
afterEach(async () => {
  for (const cleanup of cleanups.splice(0).reverse()) await cleanup();
});

async function server(...args: string[]): Promise<RedisServer> {
  const started = await startRedis(args);
  cleanups.push(() => started.stop());
  return started;
}

function port(url: string, name: string, commandTimeoutMs = PATIENT_MS): RedisPort {
  const connected = connectRedis({ url }, { name, commandTimeoutMs });
  cleanups.push(() => connected.close());
  return connected;
}

/** Reconciles `k` and gives the error that it must end in. */
async function failure(source: RedisPort, target: RedisPort): Promise<ReconcileError> {
  const result = await reconcileOne({ source, target }, 'k');
  if (result.outcome !== 'failed') throw new Error(`expected a failure, got ${result.outcome}`);
  return result.error;
}

const UNLOCKED = ['--enable-debug-command', 'yes', '--enable-protected-configs', 'yes'];

/**
 * A link whose key `k` differs, so that reconciling it wants to write.
 * @param silent the side that is not going to answer, for which nobody shall wait long
 */
async function divergedLink(
  silent?: 'source' | 'target',
): Promise<{ source: RedisServer; target: RedisServer; ports: [RedisPort, RedisPort] }> {
  const [source, target] = await Promise.all([server(...UNLOCKED), server(...UNLOCKED)]);
  await source.client.set('k', 'secret value of a user');
  return {
    source,
    target,
    ports: [
      port(source.url, 'the source', silent === 'source' ? 400 : PATIENT_MS),
      port(target.url, 'the target', silent === 'target' ? 400 : PATIENT_MS),
    ],
  };
}

function expectError(error: ReconcileError, type: ErrorType, stage: Stage, text: string): void {
  expect(error).toMatchObject({ name: 'ReconcileError', type, stage });
  expect(error.message).toContain(text);
  expect(error.message).not.toContain('\n');
  expect(error.cause).toBeInstanceOf(RedisFailure);
  const everything =
    JSON.stringify(error, Object.getOwnPropertyNames(error)) + JSON.stringify(error.cause) + error.stack;
  expect(everything).not.toContain('secret');
}

describe('on the target', () => {
  test('a replica: TargetReadOnly', async () => {
    const { target, ports } = await divergedLink();
    await target.client.replicaof('127.0.0.1', 1);
    const error = await failure(...ports);
    expectError(error, 'TargetReadOnly', 'read', 'is a replica, not a master; point the link at its master');
    expect(isPermanent(error.type)).toBe(false);
  });

  test('out of memory: TargetOutOfMemory, while deletes still pass', async () => {
    const { source, target, ports } = await divergedLink();
    await target.client.set('gone', 'v');
    await target.client.config('SET', 'maxmemory', '1');
    const error = await failure(...ports);
    expectError(error, 'TargetOutOfMemory', 'write', 'is out of memory');
    expect(isPermanent(error.type)).toBe(false);
    expect(await reconcileOne({ source: ports[0], target: ports[1] }, 'gone')).toMatchObject({ action: 'deleted' });
    expect(await source.client.exists('k')).toBe(1);
  });

  test('a last save that failed: TargetUnavailable', async () => {
    const directory = mkdtempSync(join(tmpdir(), 'keymend-misconf-'));
    cleanups.push(() => rmSync(directory, { recursive: true, force: true }));
    const { target, ports } = await divergedLink();
    await target.client.config('SET', 'dir', directory);
    rmSync(directory, { recursive: true });
    await target.client.config('SET', 'save', '3600 1');
    await target.client.bgsave();
    await expect.poll(() => target.client.info('persistence')).toContain('rdb_last_bgsave_status:err');
    expectError(await failure(...ports), 'TargetUnavailable', 'write', 'its last save to disk failed');
  });

  test('too few replicas: TargetReadOnly', async () => {
    const { target, ports } = await divergedLink();
    await target.client.config('SET', 'min-replicas-to-write', '1');
    expectError(await failure(...ports), 'TargetReadOnly', 'write', 'too few of its replicas are connected');
  });

  test('too few replicas for the budget’s own key: TargetReadOnly', async () => {
    const { target, ports } = await divergedLink();
    await target.client.config('SET', 'min-replicas-to-write', '1');
    const budget = { link: 'l', opsPerSecond: 1_000 };
    const paying = connectRedis({ url: target.url }, { name: 'the target', budget });
    cleanups.push(() => paying.close());
    const error = await failure(ports[0], paying);
    expectError(error, 'TargetReadOnly', 'read', 'too few of its replicas are connected');
  });

  test('a running script: TargetUnavailable', async () => {
    const { target, ports } = await divergedLink();
    await target.client.config('SET', 'busy-reply-threshold', '1');
    target.client.eval('while true do end', 0).catch(() => {});
    await expect.poll(() => ports[1].health()).toMatchObject({ code: 'BUSY' });
    expectError(await failure(...ports), 'TargetUnavailable', 'read', 'is busy with a script');
  });

  test('a replica without its master that serves nothing: TargetUnavailable', async () => {
    const { target, ports } = await divergedLink();
    await target.client.config('SET', 'replica-serve-stale-data', 'no');
    await target.client.replicaof('127.0.0.1', 1);
    expectError(await failure(...ports), 'TargetUnavailable', 'read', 'has lost its master');
  });

  test('loading its data: TargetLoading', async () => {
    const { target, ports } = await divergedLink();
    await reloadSlowly(target);
    await expect.poll(() => ports[1].health()).toMatchObject({ code: 'LOADING' });
    expectError(await failure(...ports), 'TargetLoading', 'read', 'is still loading its data');
  });

  test('an answer that does not come: TargetUnavailable', async () => {
    const { target, ports } = await divergedLink('target');
    await target.client.call('CLIENT', 'PAUSE', '60000', 'ALL');
    expectError(await failure(...ports), 'TargetUnavailable', 'read', 'did not answer in time');
  });

  test('an answer to the write that does not come: TargetUnavailable', async () => {
    const { target, ports } = await divergedLink('target');
    const frozen = intercept(ports[1], { 'before repair': once(() => target.freeze()) });
    expectError(await failure(ports[0], frozen), 'TargetUnavailable', 'write', 'did not answer in time');
    target.thaw();
  });

  test('stopped: TargetUnavailable', async () => {
    const { target, ports } = await divergedLink();
    await target.stop();
    expectError(await failure(...ports), 'TargetUnavailable', 'read', 'cannot be reached');
  });

  test('stopped during the repair: TargetUnavailable', async () => {
    const { target, ports } = await divergedLink();
    const stopping = intercept(ports[1], { 'before repair': once(() => target.stop()) });
    expectError(await failure(ports[0], stopping), 'TargetUnavailable', 'write', 'cannot be reached');
  });

  test('a value it cannot read: Unsupported', async () => {
    const { ports } = await divergedLink();
    const [observed] = await ports[1].inspect([Buffer.from('k')]);
    if (observed === undefined || observed instanceof RedisFailure) throw observed;
    const change = {
      action: 'restore',
      dump: Buffer.from('secret'),
      content: null,
      expiry: -1,
      expiryTolerated: true,
    } as const;
    const [outcome] = await ports[1].repair([{ key: Buffer.from('k'), observed, change }]);
    const error = reconcileError(outcome as RedisFailure, 'target', 'write', 'the target');
    expectError(error, 'Unsupported', 'write', 'cannot read the value as the other side dumped it');
    expect(isPermanent(error.type)).toBe(true);
  });
});

describe('on the source', () => {
  test('loading its data: SourceUnavailable', async () => {
    const { source, ports } = await divergedLink();
    await reloadSlowly(source);
    await expect.poll(() => ports[0].health()).toMatchObject({ code: 'LOADING' });
    expectError(await failure(...ports), 'SourceUnavailable', 'read', 'is still loading its data');
  });

  test('an answer that does not come: SourceUnavailable', async () => {
    const { source, ports } = await divergedLink('source');
    source.freeze();
    expectError(await failure(...ports), 'SourceUnavailable', 'read', 'did not answer in time');
    source.thaw();
  });

  test('stopped: SourceUnavailable', async () => {
    const { source, ports } = await divergedLink();
    await source.stop();
    expectError(await failure(...ports), 'SourceUnavailable', 'read', 'cannot be reached');
  });

  test('stopped after the repair: SourceUnavailable at the stage verify, to be tried again', async () => {
    const { source, target, ports } = await divergedLink();
    const stopping = intercept(ports[1], { 'after repair': once(() => source.stop()) });
    const error = await failure(ports[0], stopping);
    expectError(error, 'SourceUnavailable', 'verify', 'cannot be reached');
    expect(isPermanent(error.type)).toBe(false);
    expect(await target.client.exists('k')).toBe(1);
  });
});

describe.each(['source', 'target'] as const)('permissions on the %s: NoPermission', (side) => {
  async function secured(url: (server: RedisServer) => string): Promise<ReconcileError> {
    const locked = await server();
    await locked.client.set('k', 'secret value of a user');
    await locked.client.call(
      'ACL',
      'SETUSER',
      'reader',
      'on',
      '>right',
      '~*',
      '+@all',
      '-restore',
      '-dump',
      '-getrange',
    );
    await locked.client.config('SET', 'requirepass', 'secret-password');
    const open = await server();
    await open.client.set('k', 'other');
    const ports = {
      [side]: port(url(locked), side),
      [side === 'source' ? 'target' : 'source']: port(open.url, 'open'),
    };
    return failure(ports.source!, ports.target!);
  }
  const withUser = (user: string) => (locked: RedisServer) => locked.url.replace('//', `//${user}@`);

  test.each([
    ['no password', (locked: RedisServer) => locked.url, 'wants a password'],
    ['a wrong password', withUser(':secret-but-wrong'), 'refuses the user or the password'],
    ['a user without the commands', withUser('reader:right'), 'does not let this user run DUMP; grant +dump on'],
  ])('%s', async (_name, url, text) => {
    const error = await secured(url);
    expectError(error, 'NoPermission', 'read', text);
    expect(isPermanent(error.type)).toBe(true);
  });
});

test('a target user that may read but not RESTORE: NoPermission at the stage write', async () => {
  const { target, ports } = await divergedLink();
  await target.client.call('ACL', 'SETUSER', 'reader', 'on', '>right', '~*', '+@all', '-restore');
  const limited = port(target.url.replace('//', '//reader:right@'), 'the target');
  expectError(await failure(ports[0], limited), 'NoPermission', 'write', 'does not let this user run RESTORE; grant');
});

test('a command that the server lacks: Unsupported', async () => {
  const crippled = await server('--rename-command', 'RESTORE', '');
  const { ports } = await divergedLink();
  const error = await failure(ports[0], port(crippled.url, 'the target'));
  expectError(error, 'Unsupported', 'write', 'lacks a command that is needed to reconcile (RESTORE)');
});

test.each(['MEMORY', 'DUMP', 'ROLE', 'TIME', 'EVALSHA'])('a source that lacks %s: Unsupported', async (command) => {
  const crippled = await server('--rename-command', command, '');
  await crippled.client.rpush('k', 'secret');
  const { ports } = await divergedLink();
  const result = await reconcileOne({ source: port(crippled.url, 'the source'), target: ports[1] }, 'k');
  // Without some of them keymend finds another way.
  if (result.outcome === 'repaired') return;
  if (result.outcome !== 'failed') throw new Error(result.outcome);
  expectError(result.error, 'Unsupported', 'read', `the source`);
  expect(result.error.message).toContain(`(${command}`);
});

test('a server that lacks CONFIG is served like any other', async () => {
  const crippled = await server('--rename-command', 'CONFIG', '');
  const { ports } = await divergedLink();
  expect(await reconcileOne({ source: ports[0], target: port(crippled.url, 'the target') }, 'k')).toMatchObject({
    outcome: 'repaired',
  });
});

/** Makes a server answer LOADING for longer than the test takes. */
async function reloadSlowly(loading: RedisServer): Promise<void> {
  await loading.client.call('DEBUG', 'POPULATE', '20000');
  await loading.client.config('SET', 'key-load-delay', '3000');
  await loading.client.config('SET', 'loading-process-events-interval-bytes', '1024');
  loading.client.call('DEBUG', 'RELOAD').catch(() => {});
}
