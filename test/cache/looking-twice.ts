/** What the workflow of a key does, without its durability: that is tested with the whole way. */
import { setTimeout as sleep } from 'node:timers/promises';
import { parseConfig } from '../../src/config.js';
import { reconcileKeys } from '../../src/engine/index.js';
import { keyBytes } from '../../src/events/failed-write-codec.js';
import { cacheModeOf, connectSource } from '../../src/mysql/connect-source.js';
import { connectRedis } from '../../src/redis/index.js';
import type { FailedWrite } from '../../workflows/failed-write.js';

interface Looking {
  readonly mariadb: { readonly url: string };
  /** The cache, as keymend.yaml has it. */
  readonly target: object;
  readonly settleMs: number;
  /** The version of a row now. */
  readonly select: (id: number) => Promise<number>;
  /** Called behind the last look with what the row had before the first. */
  readonly promise: (id: number, version: number) => void;
}

/** For keys `n:{id}`, which cache the version of row `id` of `users`. */
export function lookingTwice({ mariadb, target, settleMs, select, promise }: Looking) {
  const query = 'SELECT version FROM users WHERE id = :id';
  const mappings = [{ key: 'n:{id:int}', query, value: { string: 'version' } }];
  const links = [{ name: 'shop', source: { mysql: { url: mariadb.url } }, target, mappings }];
  const link = parseConfig(JSON.stringify({ kafka: { brokers: ['localhost:1'] }, links }), 'test', {}).links[0]!;
  const sides = {
    source: connectSource(link, { name: 'source' }),
    target: connectRedis(link.target, { name: 'target' }),
  };
  const options = {
    expiryToleranceMs: 100,
    deleteGuard: { minimumRatio: 0, minimumGap: 1 },
    cache: cacheModeOf(link),
  };
  /** @returns whether something was stale */
  const look = async (keys: readonly string[]): Promise<boolean> => {
    let hasRepaired = false;
    for (let open = keys.map((key) => ({ key: Buffer.from(key) })); ; await sleep(20)) {
      const results = await reconcileKeys(sides, open, options);
      hasRepaired ||= results.some(({ outcome }) => outcome === 'repaired');
      open = open.filter((_, index) => ['failed', 'deferred'].includes(results[index]!.outcome));
      if (open.length === 0) return hasRepaired;
    }
  };
  const second: Promise<void>[] = [];
  const ids = new Set<string>();
  return {
    /** Of the records that came. */
    ids,
    sink: {
      async publish(records: readonly FailedWrite[]) {
        for (const { id } of records) ids.add(id);
        const keys = [...new Set(records.map(({ key, encoding = 'utf8' }) => keyBytes({ key, encoding }).toString()))];
        const versions = await Promise.all(keys.map((key) => select(Number(key.slice(2)))));
        await look(keys);
        const lookAgain = async () => {
          do await sleep(settleMs);
          while (await look(keys));
          for (const [index, key] of keys.entries()) promise(Number(key.slice(2)), versions[index]!);
        };
        second.push(lookAgain());
      },
    },
    ended: () => Promise.all(second),
    close: () => Promise.all([sides.source.close(), sides.target.close()]),
  };
}
