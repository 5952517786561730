/**
 * Whatever requests send over the one connection that they share, in whatever order: replies are
 * those of a plain client, and what the source did is mirrored, or recorded.
 */
import fc from 'fast-check';
import { Redis } from 'ioredis';
import { afterAll, beforeAll, describe, expect, it, onTestFinished } from 'vitest';
import { startProxy } from '../../src/stack/proxy.js';
import { generatedCases } from '../support/cases.js';
import { eventually } from '../support/eventually.js';
import { type Bed, settled, startBed } from './bed.js';
import { differing, expectEqualAfterRepair } from './repair.js';

let bed: Bed;
beforeAll(async () => {
  bed = await startBed();
});
afterAll(() => bed.stop());

type Step = (redis: Redis, turn: number) => Promise<unknown>;

const STEPS: Record<string, Step> = {
  begin: (redis) => redis.multi({ pipeline: false }),
  exec: (redis) => redis.exec(),
  discard: (redis) => redis.discard(),
  set: (redis, turn) => redis.set('text', turn),
  'set to what a queued command answers': (redis) => redis.set('text', 'QUEUED'),
  getset: (redis, turn) => redis.getset('text', turn),
  rpush: (redis, turn) => redis.rpush('list', turn, 'QUEUED'),
  lpop: (redis) => redis.lpop('list'),
  get: (redis) => redis.get('text'),
  'a wrong type': (redis) => redis.rpush('text', 'x'),
  'a wrong command': (redis) => redis.call('SET', 'text'),
  'a pipeline': (redis, turn) => redis.pipeline().incr('n').get('n').rpush('list', turn).exec(),
  'a transaction': (redis, turn) => redis.multi().incr('n').get('n').rpush('list', turn).exec(),
  'a wrong transaction': (redis) => redis.multi().incr('n').call('SET', 'text').exec(),
};
const AWAIT = 'the replies so far';
const CUT = 'a lost connection';
/** Of an entry of the outbox, which is nobody's but ours. */
const AN_ID = /\d{13}-\d/;

function steps(...more: string[]) {
  const names = [...Object.keys(STEPS), 'begin', 'exec', AWAIT, ...more];
  return fc.array(fc.constantFrom(...names), { minLength: 1, maxLength: 25 });
}

async function seen(calls: readonly Promise<unknown>[]): Promise<unknown[]> {
  const outcomes = await Promise.allSettled(calls);
  return outcomes.map((outcome) => {
    const value = outcome.status === 'fulfilled' ? outcome.value : outcome.reason;
    return JSON.parse(JSON.stringify(value, (_, part) => (part instanceof Error ? part.message : part)) ?? 'null');
  });
}

async function run(redis: Redis, names: readonly string[]): Promise<unknown[]> {
  const calls: Promise<unknown>[] = [];
  for (const [turn, name] of names.entries()) {
    if (name === AWAIT) await Promise.allSettled(calls);
    else calls.push(STEPS[name]!(redis, turn));
  }
  return seen([...calls, redis.discard()]);
}

describe.each([
  ['normal', {}],
  ['transactional', { transactional: {} }],
])('in %s mode', (_, more) => {
  it('over a healthy connection replies are those of a plain client, and both sides are equal without a record', async () => {
    await bed.reset();
    const plain = new Redis(bed.source.port, '127.0.0.1', { protocol: 2, db: 1 });
    onTestFinished(() => plain.disconnect());
    const writer = await bed.writer({ more });
    const sameAsPlain = async (names: readonly string[]) => {
      await plain.flushdb();
      await Promise.all([bed.source, bed.target].map(({ client }) => client.del('text', 'list', 'n')));
      expect(await run(writer, names)).toEqual(await run(plain, names));
      await settled(writer);
      expect(await differing(bed)).toEqual([]);
      expect(bed.sink.records).toEqual([]);
      expect(writer.stats().unanswered).toBe(0);
    };
    await fc.assert(fc.asyncProperty(steps(), sameAsPlain), { numRuns: generatedCases(60) });
  });

  it.each([true, false])(
    'over connections that are lost (sent again: %s) every key that differs has a record',
    async (again) => {
      await bed.reset();
      const link = await startProxy({ target: { host: '127.0.0.1', port: bed.source.port } });
      onTestFinished(() => link.close());
      const writer = await bed.writer({
        source: { port: link.port, retryStrategy: () => 1, autoResendUnfulfilledCommands: again },
        more,
      });
      let replies = '';
      const recorded = async (names: readonly string[]) => {
        link.slow(1);
        for (const [turn, name] of names.entries()) {
          if (name === AWAIT) await new Promise((resolve) => setTimeout(resolve, turn % 7));
          else if (name === CUT) {
            link.cut();
            link.restore();
            link.slow(1);
          } else
            STEPS[name]!(writer, turn).then(
              (reply) => (replies += JSON.stringify(reply)),
              () => {},
            );
        }
        await eventually(() => {
          // Ends the transaction that the connection may be in.
          writer.discard().catch(() => {});
          expect(writer.stats().unanswered).toBe(0);
        });
        await settled(writer);
        expect(replies).not.toMatch(AN_ID);
        const keys = bed.sink.records.map(({ key }) => key);
        expect((await differing(bed)).filter((key) => !keys.includes(key))).toEqual([]);
        await expectEqualAfterRepair(bed, bed.sink.records);
        bed.sink.records.length = 0;
      };
      await fc.assert(fc.asyncProperty(steps(CUT, CUT), recorded), { numRuns: generatedCases(60) });
    },
  );
});
