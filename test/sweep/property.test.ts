/** Whatever was written to either side: a sweep finds what another comparison finds, all of it. */
import * as fc from 'fast-check';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { startLink, type TestLink } from '../engine/link.js';
import { anyWrite, type Command } from '../engine/random-writes.js';
import { generatedCases } from '../support/cases.js';
import { compareRedis } from '../support/compare.js';
import type { RedisServer } from '../support/redis.js';
import { swept } from './bed.js';

let link: TestLink;
beforeAll(async () => {
  // Encodings differ, as between servers of other settings.
  link = await startLink([], ['--hash-max-listpack-entries', '1', '--zset-max-listpack-entries', '1']);
});
afterAll(() => link?.stop());

/** What is refused is refused on either side. */
async function write({ client }: RedisServer, commands: readonly Command[]): Promise<void> {
  for (const [name, ...args] of commands) await client.call(name, ...args).catch(() => {});
}

const writes = (most: number) => fc.array(anyWrite, { maxLength: most });

test('a sweep finds what differs, and that alone', async () => {
  const property = fc.asyncProperty(writes(30), writes(4), writes(4), async (shared, ofSource, ofTarget) => {
    await link.clear();
    const { source, target, sides } = link;
    for (const server of [source, target]) await write(server, shared);
    await write(source, ofSource);
    await write(target, ofTarget);
    const differences = await compareRedis(source.client, target.client);
    const { listed, failed, unsettled } = (await swept(sides)).summary!;
    const found = listed.map(({ key, encoding }) => Buffer.from(key, encoding).toString('hex'));
    expect(found.sort()).toEqual(differences.map(({ key }) => key.toString('hex')).sort());
    expect({ failed, unsettled }).toEqual({ failed: 0, unsettled: 0 });
  });
  await fc.assert(property, { numRuns: generatedCases(30) });
});
