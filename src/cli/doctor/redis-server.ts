/** The doctor's look at each master of a side: version, memory, and what the user may do. */
import type { LinkConfig } from '../../config.js';
import { connectKeyServers, type OneServer } from '../../redis/index.js';
import { type Finding, found, ok, warn } from './finding.js';
import { ofMasters } from './masters.js';
import { rightsOf } from './rights.js';
import { ofVersion } from './versions.js';

const TIMEOUT_MS = 3_000;
const NEARLY_FULL = 0.9;

export async function checkServer(link: LinkConfig, side: 'source' | 'target'): Promise<Finding[]> {
  const name = `${side} of link ${link.name}`;
  const endpoint = link[side];
  // Its mappings have been tried with it.
  if ('mysql' in endpoint) return [];
  const servers = connectKeyServers(endpoint, { name, commandTimeoutMs: TIMEOUT_MS });
  try {
    const look = async (server: OneServer) => {
      const checks = [memory(server, link, side), rightsOf(server, side)].map((check) => found(() => check, warn));
      return (await Promise.all(checks)).flat();
    };
    return [...(await found(() => ofMasters(servers, look), warn))];
  } finally {
    servers.close();
  }
}

async function memory(server: OneServer, { source }: LinkConfig, side: 'source' | 'target'): Promise<Finding[]> {
  const { place } = server;
  const ask = async (section: string) => fields(String(await server.send(['INFO', section])));
  const [about, memory] = [await ask('server'), await ask('memory')];
  const policy = memory.get('maxmemory_policy') ?? 'noeviction';
  const limit = Number(memory.get('maxmemory') ?? 0);
  const used = Number(memory.get('used_memory') ?? 0);
  const findings: Finding[] = [ofVersion(place, about)];
  const evicts = limit > 0 && policy !== 'noeviction';
  // What a cache evicts its readers load again, and that it is full is how it is meant to be.
  if (evicts && 'mysql' in source) findings.push(ok(`${place}: a cache that evicts keys (maxmemory-policy ${policy})`));
  else if (evicts)
    findings.push(
      warn(
        `${place} evicts keys (maxmemory-policy ${policy}): ${side === 'target' ? 'what it evicts differs from the source' : 'what it evicts is deleted on the target, when it is reconciled'}`,
        'set maxmemory-policy to noeviction, unless it is a cache on both sides',
      ),
    );
  else if (limit > 0 && used > NEARLY_FULL * limit)
    findings.push(
      warn(`${place} uses ${Math.round((100 * used) / limit)} % of its maxmemory`, 'free memory or raise the limit'),
    );
  else findings.push(ok(`${place}: memory policy ${policy}${limit === 0 ? ', no limit' : ''}`));
  return findings;
}

function fields(info: string): ReadonlyMap<string, string> {
  const lines = info.split('\r\n').filter((line) => line.includes(':'));
  return new Map(lines.map((line) => [line.slice(0, line.indexOf(':')), line.slice(line.indexOf(':') + 1)]));
}
