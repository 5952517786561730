/**
 * `npm run example:mysql`: a service with load, its cache once deleted by hand and once by keymend,
 * and how many old values were read and are left. Everything runs here, and is stopped at the end.
 */
import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { Redis } from 'ioredis';
import { outboxTable } from 'keymend/cache';
import { createPool } from 'mysql2/promise';
import { byHand, byKeymend, keyOf, versionOf } from './service.js';

const USERS = 100;
const READERS = 20;
const WRITES_PER_SECOND = 20;
/** As many as are asked for. Of a multiple of ten the last one by hand dies behind its commit, and its old value stays. */
const WRITES = Number(process.argv[2] ?? 400);
/** When a write is older than this, nobody should read what was there before. */
const BOUND_MS = 5_000;
/** By hand only slow readers are under way when the load ends; keymend may have records to act upon. */
const [REST_BY_HAND_MS, REST_MS] = [1_000, 120_000];

const keymend = fileURLToPath(new URL('../../dist/src/cli/main.js', import.meta.url));
const directory = mkdtempSync(join(tmpdir(), 'keymend-example-'));

function stack(...args) {
  const command = [keymend, 'stack', ...args, '--directory', directory, '--output', 'json'];
  const { status, stdout } = spawnSync(process.execPath, command, { stdio: ['ignore', 'pipe', 'inherit'] });
  if (status !== 0) throw new Error(`stack ${args[0]} failed`);
  return JSON.parse(stdout);
}

/** Bridge and worker, until `stop`. */
async function startKeymend({ temporal, kafka, redis, mysql }) {
  const config = join(directory, 'example.json');
  const query = 'SELECT version FROM users WHERE id = :id';
  const mappings = [{ key: 'user:{id:int}', query, value: { string: 'version' } }];
  const link = { name: 'shop', source: { mysql: { url: mysql } }, target: { url: redis.target }, mappings };
  const { address } = temporal;
  const { brokers } = kafka;
  writeFileSync(
    config,
    JSON.stringify({ temporal: { address, taskQueue: 'keymend' }, kafka: { brokers }, links: [link] }),
  );
  const child = spawn(process.execPath, [keymend, 'start', '--config', config], {
    stdio: ['ignore', 'ignore', 'pipe'],
  });
  const ended = once(child, 'exit');
  // Records that came before that would wait in Kafka; its log is not for this terminal.
  const lines = createInterface({ input: child.stderr });
  await new Promise((resolve, reject) => {
    lines.on('line', (line) => /bridge is ready/.test(line) && resolve());
    void ended.then(() => reject(new Error('keymend start has ended')));
  });
  return async () => {
    child.kill('SIGTERM');
    await ended;
  };
}

/** Users whose cached version is not that of their row: looked at until there are none, or the time is over. */
async function leftBehind({ redis, mysql }, ms) {
  const until = performance.now() + ms;
  for (;;) {
    let left = 0;
    for (let id = 0; id < USERS; id++) {
      const cached = await redis.get(keyOf(id));
      if (cached !== null && Number(cached) !== (await versionOf(mysql, id))) left += 1;
    }
    if (left === 0 || performance.now() >= until) return left;
    await sleep(200);
  }
}

async function measured(name, service, restMs, { redis, mysql }) {
  await redis.flushall();
  const writes = Array.from({ length: USERS }, () => []);
  let [reads, old, veryOld] = [0, 0, 0];
  let underLoad = true;
  /** The version that a user had for sure so many ms ago. */
  const versionBefore = (id, at) => writes[id].findLast((write) => write.at <= at)?.version ?? 0;
  const someone = () => Math.floor(Math.random() * USERS);
  const writer = async () => {
    for (let written = 0; written < WRITES; written++) {
      const id = someone();
      await service.write(id);
      writes[id].push({ at: performance.now(), version: await versionOf(mysql, id) });
      await sleep(1_000 / WRITES_PER_SECOND);
    }
    underLoad = false;
  };
  const reader = async () => {
    while (underLoad) {
      const id = someone();
      const begunAt = performance.now();
      const [certain, long] = [versionBefore(id, begunAt), versionBefore(id, begunAt - BOUND_MS)];
      const version = await service.read(id);
      reads += 1;
      if (version < certain) old += 1;
      if (version < long) veryOld += 1;
      await sleep(1);
    }
  };
  await Promise.all([writer(), ...Array.from({ length: READERS }, reader)]);
  const left = await leftBehind({ redis, mysql }, restMs);
  await service.close();
  return [name, reads, old, veryOld, `${left} of ${USERS}`];
}

try {
  const services = stack('up', '--mysql');
  const redis = new Redis(services.redis.target);
  const mysql = createPool(services.mysql);
  await mysql.query('CREATE TABLE IF NOT EXISTS users (id BIGINT PRIMARY KEY, version BIGINT NOT NULL)');
  await mysql.query(outboxTable());
  await mysql.query(`REPLACE INTO users VALUES ${Array.from({ length: USERS }, (_, id) => `(${id}, 0)`).join(', ')}`);
  const rows = [await measured('deleted by hand', byHand({ redis, mysql }), REST_BY_HAND_MS, { redis, mysql })];
  const stop = await startKeymend(services);
  const ours = byKeymend({ redis, mysql, brokers: services.kafka.brokers });
  rows.push(await measured('keymend/cache', ours, REST_MS, { redis, mysql }));
  await stop();
  const head = ['', 'reads', 'old', `older than ${BOUND_MS / 1_000} s`, 'left behind'];
  for (const row of [head, ...rows]) {
    console.log(row.map((cell, column) => (column === 0 ? `${cell}`.padEnd(18) : `${cell}`.padStart(17))).join(''));
  }
  redis.disconnect();
  await mysql.end();
} finally {
  stack('down');
  rmSync(directory, { recursive: true, force: true });
}
