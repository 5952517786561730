/** One question to all masters of a side: one line for all, where they agree. */
import type { KeyServers, OneServer } from '../../redis/index.js';
import type { Finding } from './finding.js';

/**
 * @param ask its findings begin with the place of the server
 * @throws RedisFailure when nobody says which masters there are
 */
export async function ofMasters(
  servers: KeyServers,
  ask: (server: OneServer) => Promise<readonly Finding[]>,
): Promise<Finding[]> {
  const masters = await servers.masters();
  const asked = masters.map(async (server) => (await ask(server)).map((finding) => ({ finding, of: server.place })));
  const said = new Map<string, { readonly finding: Finding; readonly of: string }[]>();
  for (const one of (await Promise.all(asked)).flat()) {
    const { level, message, remedy } = one.finding;
    const what = JSON.stringify([level, message.replace(one.of, ''), remedy]);
    const alike = said.get(what) ?? [];
    // Two questions to one that hangs end alike.
    if (!alike.some(({ of }) => of === one.of)) said.set(what, [...alike, one]);
  }
  return [...said.values()].flatMap((alike) => {
    const [{ finding, of }] = alike as [(typeof alike)[0]];
    const as = (place: string) => ({ ...finding, message: finding.message.replace(of, place) });
    if (alike.length === masters.length) return [as(servers.place)];
    // Who has something to mend wants to know where.
    if (alike.length === 1 || finding.level !== 'ok') return alike.map((one) => one.finding);
    return [as(`${servers.place}, ${alike.length} of ${masters.length} masters`)];
  });
}
