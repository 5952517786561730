/** `keymend doctor` */

import { counted } from '../../plural.js';
import { connectClient } from '../../temporal/connect.js';
import { type Configured, readConfig } from '../configured.js';
import { type GlobalOptions, print, VerbError } from '../context.js';
import { describeFinding, type Finding, fail, ok } from '../doctor/finding.js';
import { checkLink } from '../doctor/link.js';
import { checkIntake, checkServices } from '../doctor/services.js';
import { checkTemporal } from '../doctor/temporal.js';

/** @throws VerbError where something fails; warnings are no failure */
export async function doctor(global: GlobalOptions): Promise<void> {
  const findings = await examine(global);
  const of = (level: Finding['level']) => findings.filter((finding) => finding.level === level).length;
  print(global, { ok: of('fail') === 0, checks: findings }, () => findings.flatMap(describeFinding));
  if (of('fail') > 0) throw new VerbError(`${of('fail')} of ${counted(findings.length, 'check')} failed`);
}

async function examine(global: GlobalOptions): Promise<readonly Finding[]> {
  let configured: Configured;
  try {
    configured = readConfig(global);
  } catch (error) {
    return [fail((error as Error).message)];
  }
  const { config, temporal } = configured;
  const client = await connectClient(temporal).catch((error: Error) => error);
  try {
    const groups = await Promise.all([
      [ok('the configuration can be read')],
      client instanceof Error ? [unreachable(client)] : checkTemporal(client, config, temporal),
      checkIntake(config),
      ...config.links.map(checkLink),
      checkServices(client, config),
    ]);
    return groups.flat();
  } finally {
    if (!(client instanceof Error)) await client.connection.close();
  }
}

function unreachable({ message }: Error): Finding {
  const at = message.lastIndexOf('; ');
  return fail(message.slice(0, at), message.slice(at + 2));
}
