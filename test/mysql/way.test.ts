/** The whole way: a record on Kafka, the bridge, a workflow, MariaDB and the cache. */
import { randomUUID } from 'node:crypto';
import { afterAll, afterEach, beforeAll, beforeEach, expect, test } from 'vitest';
import { provideMariadb } from '../../src/stack/programs/index.js';
import { type KeyStatus, status } from '../../workflows/messages.js';
import { sweepWorkflowId } from '../../workflows/sweep-messages.js';
import { eventually, until } from '../support/eventually.js';
import { createSandbox, recordOf, type Sandbox } from '../support/keymend.js';
import { type MariadbServer, startMariadb } from '../support/mariadb.js';
import { describeWith } from '../support/services.js';

await describeWith('failed deletes of a cache in front of MariaDB', provideMariadb, (programs) => {
  let mariadb: MariadbServer;
  let sandbox: Sandbox;

  beforeAll(async () => {
    mariadb = await startMariadb(programs);
    await mariadb.client.query('CREATE TABLE users (id BIGINT PRIMARY KEY, name VARCHAR(64))');
  });
  afterAll(() => mariadb?.stop());
  beforeEach(async () => {
    await mariadb.client.query("REPLACE INTO users VALUES (1, 'new'), (2, 'new')");
    sandbox = await createSandbox();
  });
  afterEach(() => sandbox?.close());

  function configure(more: object = {}): void {
    const query = 'SELECT name FROM users WHERE id = :id';
    const mappings = [{ key: 'name:{id:int}', query, value: { string: 'name' } }];
    sandbox.configure({ link: { source: { mysql: { url: mariadb.url } }, mappings, settle: '500ms', ...more } });
  }

  const cache = () => sandbox.target.client;
  const handle = (key: string) => sandbox.client.workflow.getHandle(sandbox.prefix + key);
  const send = (...keys: string[]) =>
    sandbox.producer.send({ topic: sandbox.topic, messages: keys.map((key) => recordOf(key, { command: 'DEL' })) });
  const inState = (key: string, state: KeyStatus['state']) =>
    until(async () => {
      const current = await handle(key)
        .query(status)
        .catch(() => null);
      return current?.state === state;
    });

  test('delete what is stale, and leave alone what the row says', async () => {
    configure();
    await cache().mset('name:1', 'old', 'name:2', 'new');
    await sandbox.start('start');
    await send('name:1', 'name:2');
    await until(async () => (await cache().exists('name:1')) === 0);
    expect(await handle('name:1').result()).toMatchObject({ outcome: 'repaired' });
    await until(async () => (await handle('name:2').describe()).status.name === 'COMPLETED');
    expect(await handle('name:2').result()).toMatchObject({ outcome: 'equal' });
    expect(await cache().get('name:2')).toBe('new');
  });

  test('heal what a reader puts back that had read the old row, also where nothing was cached at first', async () => {
    configure({ settle: '10s' });
    await sandbox.start('start');
    await send('name:1');
    await inState('name:1', 'verifying');
    await cache().set('name:1', 'old');
    expect(await handle('name:1').result()).toMatchObject({ outcome: 'repaired' });
    expect(await cache().exists('name:1')).toBe(0);
  });

  test('heal it although every process dies before the second look', async () => {
    configure({ settle: '10s' });
    const first = await sandbox.start('start');
    await send('name:1');
    await inState('name:1', 'verifying');
    await first.stop('SIGKILL');
    await cache().set('name:1', 'old');
    await sandbox.start('worker');
    expect(await handle('name:1').result()).toMatchObject({ outcome: 'repaired' });
    expect(await cache().exists('name:1')).toBe(0);
  });

  test('wait while the cache is away, and delete what is stale once it is back', async () => {
    configure();
    await cache().set('name:1', 'old');
    await sandbox.start('start');
    sandbox.target.freeze();
    await send('name:1');
    await inState('name:1', 'waiting').finally(() => sandbox.target.thaw());
    expect(await handle('name:1').result()).toMatchObject({ outcome: 'repaired' });
    expect(await cache().exists('name:1')).toBe(0);
  });

  test('write the row in mode refresh', async () => {
    configure({ mode: 'refresh' });
    await cache().set('name:1', 'old', 'EX', 1_000);
    await sandbox.start('start');
    await send('name:1');
    await until(async () => (await cache().get('name:1')) === 'new');
    expect(await cache().ttl('name:1')).toBeGreaterThan(900);
    expect(await handle('name:1').result()).toMatchObject({ outcome: 'repaired' });
  });

  test('escalate a key that no mapping takes', async () => {
    configure();
    await cache().set('other:1', 'old');
    await sandbox.start('start');
    await send('other:1');
    await inState('other:1', 'escalated');
    const { lastError } = await handle('other:1').query(status);
    expect(lastError).toMatchObject({ type: 'NoMapping' });
  });

  test('start no worker whose only link has a mapping that does not fit the tables', async () => {
    const query = 'SELECT nme FROM users WHERE id = :id';
    configure({ mappings: [{ key: 'name:{id}', query, value: 'json' }] });
    const { code, stderr } = await sandbox.keymend('worker');
    expect(code).toBe(1);
    expect(stderr).toMatch(/refuses the query of mapping name:\{id\}: ER_BAD_FIELD_ERROR/);
    const check = await sandbox.keymend('config', 'check');
    expect(check.code).toBe(1);
    expect(check.stdout).toMatch(/FAILED .*ER_BAD_FIELD_ERROR/);
  });

  test('are told of by status and config check', async () => {
    configure();
    const [told, check] = [await sandbox.keymend('status'), await sandbox.keymend('config', 'check')];
    expect(told.stdout).toMatch(/source \(127\.0\.0\.1:\d+\) is the primary/);
    expect(check).toMatchObject({ code: 0, stdout: expect.not.stringContaining('warning') });
    await mariadb.client.query('CREATE TABLE keyless (id BIGINT, name VARCHAR(64))');
    const query = 'SELECT name FROM keyless WHERE id = :id';
    configure({ mappings: [{ key: 'k:{id:int}', query, value: { string: 'name' } }] });
    const warned = await sandbox.keymend('config', 'check');
    expect(warned).toMatchObject({ code: 0 });
    expect(warned.stdout).toMatch(
      /^warning link \S+: mapping k:\{id:int\} reads table keyless, which has no primary key/m,
    );
    await cache().config('SET', 'maxmemory', '1gb', 'maxmemory-policy', 'allkeys-lru');
    const { stdout: doctor } = await sandbox.keymend('doctor').finally(() => cache().config('SET', 'maxmemory', '0'));
    expect(doctor).toMatch(/reads table keyless, which has no primary key/);
    expect(doctor).toMatch(/^ok .*a cache that evicts keys \(maxmemory-policy allkeys-lru\)$/m);
    expect(doctor).not.toMatch(/^warn .*evicts keys/m);
  });

  test('which nobody has recorded are found by a sweep, and healed by one that repairs', async () => {
    // The workflow of a sweep has the name of its link, for all that share the Temporal.
    configure({ name: `shop-${randomUUID().slice(0, 8)}` });
    await cache().mset('name:1', 'old', 'name:2', 'new', 'name:3', 'of no row', 'session:1', 'x');
    await sandbox.start('worker');
    const found = await sandbox.keymend('sweep');
    expect(found.code).toBe(3);
    expect(found.stdout).toMatch(/divergent, 3 keys compared, 2 differ \((value 1, extra 1|extra 1, value 1)\)/);
    const repaired = await sandbox.keymend('sweep', '--repair');
    expect(repaired.stdout).toMatch(/repaired: 2 of 2/);
    expect(await cache().exists('name:1', 'name:3')).toBe(0);
    expect(await cache().mget('name:2', 'session:1')).toEqual(['new', 'x']);
  });

  test('are counted by samples on a schedule, which say how many are right within which time', async () => {
    const name = `shop-${randomUUID().slice(0, 8)}`;
    configure({ name });
    await cache().mset('name:1', 'new', 'name:2', 'new');
    await sandbox.start('worker');
    const made = await sandbox.keymend('sweep', '--sample', '100%', '--every', '1h', '--output', 'json');
    expect(JSON.parse(made.stdout).options).toEqual({ sample: 1, aged: true });
    try {
      const times = 'consistent at least 100 % within 1 min, 100 % within 5 min, 100 % within 10 min';
      await eventually(async () => {
        // Again where one could not compare all of it; while one runs, another is not begun.
        await sandbox.client.schedule.getHandle(sweepWorkflowId(name)).trigger();
        await expect
          .poll(() => sandbox.keymend('status').then(({ stdout }) => stdout), { timeout: 30_000 })
          .toContain(`0 differ, ${times}\n`);
      });
    } finally {
      await sandbox.keymend('sweep', '--every', 'off');
    }
  });
});
