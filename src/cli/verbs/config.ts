/** `keymend config check` */
import { pino } from 'pino';
import { intakeOf } from '../../bridge/intakes.js';
import type { Config, LinkConfig } from '../../config.js';
import { connectSource } from '../../mysql/connect-source.js';
import { schemaWarnings } from '../../mysql/schema.js';
import { counted } from '../../plural.js';
import { checkDistinct, connectRedis, type RedisPort } from '../../redis/index.js';
import { connectClient, type TemporalTarget } from '../../temporal/connect.js';
import { readConfig } from '../configured.js';
import { type GlobalOptions, print, VerbError } from '../context.js';

const TIMEOUT_MS = 5_000;

interface Check {
  readonly what: string;
  /** null: all is well, unless it was not checked. */
  readonly problem: string | null;
  /** Why it was not checked. */
  readonly notChecked?: string;
  /** It works, at a risk. */
  readonly warning?: true;
}

export async function configCheck(global: GlobalOptions): Promise<void> {
  const { config, temporal } = readConfig(global);
  const checks = await checkServices(config, temporal);
  const failed = checks.filter(({ problem }) => problem !== null);
  print(global, { ok: failed.length === 0, checks }, () => checks.map(describe));
  if (failed.length > 0) throw new VerbError(`${failed.length} of ${counted(checks.length, 'check')} failed`);
}

function describe({ what, problem, notChecked, warning }: Check): string {
  if (warning) return `warning ${what}`;
  if (notChecked !== undefined) return `-       ${what}: not checked, because ${notChecked}`;
  return problem === null ? `ok      ${what}` : `FAILED  ${problem}`;
}

async function checkServices(config: Config, temporal: TemporalTarget): Promise<Check[]> {
  const checks: Promise<Check | Check[]>[] = [
    check(`Temporal at ${temporal.address}, namespace ${temporal.namespace}`, async () => {
      await (await connectClient(temporal)).connection.close();
    }),
  ];
  const intake = intakeOf(config);
  if (intake.service !== null) checks.push(check(intake.service, () => intake.check(pino({ level: 'silent' }))));
  return (await Promise.all([...checks, ...config.links.map(checkLink)])).flat();
}

async function checkLink(link: LinkConfig): Promise<Check[]> {
  const optionsOf = (side: 'source' | 'target') => ({
    name: `${side} of link ${link.name}`,
    commandTimeoutMs: TIMEOUT_MS,
  });
  const sides = {
    source: connectSource(link, optionsOf('source')),
    target: connectRedis(link.target, optionsOf('target')),
  };
  const reach = async (port: RedisPort) => {
    const silent = await port.check();
    if (silent.length > 0) throw new Error(silent.map(({ message }) => message).join('; '));
  };
  try {
    const checks = await Promise.all([
      check(`source of link ${link.name}`, () => reach(sides.source)),
      check(`target of link ${link.name}`, () => reach(sides.target)),
    ]);
    const what = `source and target of link ${link.name} are different servers (or databases of one)`;
    const away = checks.filter(({ problem }) => problem !== null);
    if (away.length > 0) {
      const which = away.length === 2 ? 'source and target' : away[0]!.what;
      return [...checks, { what, problem: null, notChecked: `${which} can't be used` }];
    }
    const areTwo = async () => {
      const doubt = await checkDistinct(sides);
      if (doubt !== null) throw doubt;
    };
    let warnings: readonly string[] = [];
    const schema = await check(`schema of link ${link.name}`, async () => {
      warnings = await schemaWarnings(link, TIMEOUT_MS);
    });
    const warned = warnings.map(
      (line): Check => ({ what: `link ${link.name}: ${line}`, problem: null, warning: true }),
    );
    return [...checks, await check(what, areTwo), ...(schema.problem === null ? [] : [schema]), ...warned];
  } finally {
    await Promise.all([sides.source.close(), sides.target.close()]);
  }
}

async function check(what: string, reach: () => Promise<void>): Promise<Check> {
  try {
    await reach();
    return { what, problem: null };
  } catch (error) {
    return { what, problem: (error as Error).message };
  }
}
