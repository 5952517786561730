/** The doctor's look at the two sides of a link: the checks of a worker that starts, and more. */
import type { LinkConfig } from '../../config.js';
import { CACHE_LEASE_MS } from '../../defaults.js';
import { LinkMemory, ReconcileError } from '../../engine/index.js';
import { cacheModeOf, connectSource } from '../../mysql/connect-source.js';
import { schemaWarnings } from '../../mysql/schema.js';
import { checkDistinct, connectRedis, explain, RedisFailure, type RedisPort } from '../../redis/index.js';
import { type Finding, fail, found, ok, warn } from './finding.js';
import { checkServer } from './redis-server.js';

const TIMEOUT_MS = 3_000;
/** Expiries are compared within the tolerance and this; more is worth knowing. */
const MUCH_OFFSET_MS = 1_000;
const KEY = Buffer.from('keymend');

export async function checkLink(link: LinkConfig): Promise<Finding[]> {
  const optionsOf = (side: 'source' | 'target') => ({
    name: `${side} of link ${link.name}`,
    commandTimeoutMs: TIMEOUT_MS,
  });
  const sides = {
    source: connectSource(link, optionsOf('source')),
    target: connectRedis(link.target, optionsOf('target')),
  };
  const isCache = cacheModeOf(link) !== undefined;
  try {
    const reached = await Promise.all([checkSide(sides.source), checkSide(sides.target)]);
    const answer = reached.flat().every(({ level }) => level !== 'fail');
    const both = answer
      ? await Promise.all([
          found(() => areTwo(link, sides)),
          // A row does not expire.
          isCache ? [] : found(() => clocks(link, sides), warn),
        ])
      : [];
    const servers = await Promise.all(
      (['source', 'target'] as const).map((side, index) =>
        reached[index]!.every(({ level }) => level !== 'fail') ? checkServer(link, side) : [],
      ),
    );
    return [
      ...reached.flat(),
      ...servers.flat(),
      ...both.flat(),
      ...(answer ? await found(() => mappings(link)) : []),
      ...(isCache ? secondLook(link) : []),
    ];
  } finally {
    await Promise.all([sides.source.close(), sides.target.close()]);
  }
}

async function checkSide(port: RedisPort): Promise<readonly Finding[]> {
  return found(async () => {
    const silent = await port.check();
    const health = await port.health();
    if (health instanceof RedisFailure) return [fail(`${health.place ?? port.place} ${explain(health)}`)];
    const roles = health.servers.flatMap(({ place, answer }) =>
      answer instanceof RedisFailure || answer.isMaster
        ? []
        : [fail(`${place} ${explain(new RedisFailure('NOTMASTER', 'not a master'))}`)],
    );
    if (silent.length + roles.length > 0) return [...silent.map(({ message }) => fail(message)), ...roles];
    return [ok(`${port.place} answers and is a master`)];
  });
}

async function mappings(link: LinkConfig): Promise<Finding[]> {
  const warnings = await schemaWarnings(link, TIMEOUT_MS);
  return warnings.map((line) => warn(`link ${link.name}: ${line}`));
}

/** The application has its own half of this, which is not known here. */
export function secondLook({ name, settle }: LinkConfig): Finding[] {
  if (settle >= CACHE_LEASE_MS) return [];
  const line = `link ${name}: settle is ${settle} ms, less than readers of keymend/cache may take by default`;
  return [warn(line, `give createCache settleMs: ${settle}, or make settle ${CACHE_LEASE_MS} ms`)];
}

type Sides = { readonly source: RedisPort; readonly target: RedisPort };

async function areTwo({ name }: LinkConfig, sides: Sides): Promise<Finding[]> {
  const doubt = await checkDistinct(sides);
  if (doubt === null) return [ok(`source and target of link ${name} are two`)];
  return [doubt.code === 'SAME' ? fail(doubt.message) : warn(doubt.message)];
}

async function clocks({ name }: LinkConfig, sides: Sides): Promise<Finding[]> {
  const offset = await new LinkMemory(sides).clockOffset(KEY);
  if (offset instanceof ReconcileError)
    return [warn(`the clocks of link ${name} could not be compared: ${offset.message}`)];
  const ms = Math.round(offset.offsetMs);
  const line = `link ${name}: the target's clock is ${Math.abs(ms)} ms ${ms < 0 ? 'behind' : 'ahead of'} the source's`;
  return [
    Math.abs(ms) <= MUCH_OFFSET_MS
      ? ok(line)
      : warn(line, 'set both clocks (NTP): keys expire at other times on the target'),
  ];
}
