/** Who reads the outboxes now. */
import type { LinkConfig, StreamConfig } from '../config.js';
import { connectKeyServers, type KeyServers } from '../redis/index.js';
import { versionOf } from './consumer-name.js';
import { outboxSources, streamsOf } from './sources.js';

/** A reader that lives says so more often, also one that is slow. */
const ALIVE_MS = 10_000;

/**
 * The consumers of the group that were heard of in the last 10 s.
 * @returns the release of each, null: it does not say; or null when there is no outbox yet that
 *   could be read
 * @throws RedisFailure with one line when a source does not answer
 */
export async function readersOfOutboxes(
  links: readonly LinkConfig[],
  { key, groupId }: StreamConfig,
): Promise<readonly (string | null)[] | null> {
  const perSource = outboxSources(links).map(async (source) => {
    const servers = connectKeyServers(source.endpoint, { name: source.name });
    try {
      return await Promise.all(streamsOf(source, key).map((stream) => consumersOf(servers, stream, groupId)));
    } finally {
      servers.close();
    }
  });
  const found = (await Promise.all(perSource)).flat().filter((consumers) => consumers !== null);
  // Each bridge reads all of them, as a consumer of its own.
  return found.length === 0
    ? null
    : found.reduce((most, each) => (each.length > most.length ? each : most)).map(versionOf);
}

/** null: there is no such stream, or nobody has ever read it. */
async function consumersOf(servers: KeyServers, stream: string, group: string): Promise<readonly string[] | null> {
  const { reply: exists } = await servers.send(stream, ['EXISTS', stream]);
  if (exists === 0) return null;
  const { reply: groups } = await servers.send(stream, ['XINFO', 'GROUPS', stream]);
  const isRead = (groups as unknown[][]).some((fields) => String(field(fields, 'name')) === group);
  if (!isRead) return [];
  const { reply: consumers } = await servers.send(stream, ['XINFO', 'CONSUMERS', stream, group]);
  return (consumers as unknown[][])
    .filter((fields) => Number(field(fields, 'idle')) < ALIVE_MS)
    .map((fields) => String(field(fields, 'name')));
}

function field(reply: readonly unknown[], name: string): unknown {
  return reply[reply.findIndex((each, index) => index % 2 === 0 && String(each) === name) + 1];
}
