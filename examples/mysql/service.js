/** A small service: it renames users, and caches what it reads of them. Once by hand, once by keymend. */
import { setTimeout as sleep } from 'node:timers/promises';
import { createKafkaRecordSink } from 'keymend';
import { createCache, startOutboxRelay } from 'keymend/cache';

/** Every so many times a process dies behind its commit, and its delete never comes. */
const DEATH_EVERY = 10;
const LINK = 'shop';
export const keyOf = (id) => `user:${id}`;

const rename = (tx, id) => tx.query('UPDATE users SET version = version + 1 WHERE id = ?', [id]);

export async function versionOf(mysql, id) {
  const [[user]] = await mysql.query('SELECT version FROM users WHERE id = ?', [id]);
  return user.version;
}

/** Some readers are slow: a pause of the process, or a network that hangs. */
async function loaded(mysql, id) {
  const version = await versionOf(mysql, id);
  if (Math.random() < 0.1) await sleep(Math.random() * 50);
  return version;
}

/** Update, then delete. */
export function byHand({ redis, mysql }) {
  let writes = 0;
  return {
    async write(id) {
      await rename(mysql, id);
      writes += 1;
      if (writes % DEATH_EVERY !== 0) await redis.del(keyOf(id));
    },
    async read(id) {
      const cached = await redis.get(keyOf(id));
      if (cached !== null) return Number(cached);
      const version = await loaded(mysql, id);
      await redis.set(keyOf(id), version);
      return version;
    },
    async close() {},
  };
}

export function byKeymend({ redis, mysql, brokers }) {
  const cache = createCache({ redis: losingDeletes(redis), mysql, link: LINK });
  const sink = createKafkaRecordSink({ kafka: { brokers }, topic: 'keymend.failed-writes' });
  const relay = startOutboxRelay({ mysql, sink });
  return {
    write: (id) => cache.update(keyOf(id), (tx) => rename(tx, id)),
    read: async (id) => Number(await cache.read(keyOf(id), async () => `${await loaded(mysql, id)}`)),
    async close() {
      await relay.stop();
      await sink.close();
      cache.close();
    },
  };
}

/** The same deaths as by hand. */
function losingDeletes(redis) {
  let deletes = 0;
  const run = (script, ...args) => {
    if (script.includes('UNLINK')) {
      deletes += 1;
      if (deletes % DEATH_EVERY === 0) return Promise.reject(new Error('lost'));
    }
    return redis.evalBuffer(script, ...args);
  };
  return new Proxy(redis, {
    get(target, name) {
      if (name === 'evalBuffer') return run;
      const value = Reflect.get(target, name, target);
      return typeof value === 'function' ? value.bind(target) : value;
    },
  });
}
