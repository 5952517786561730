/** The doctor's look at Temporal. */
import type { Client } from '@temporalio/client';
import { BATCH_TYPE } from '../../../workflows/batch-messages.js';
import { GAP_TYPE } from '../../../workflows/gap-messages.js';
import { WORKFLOW_TYPE } from '../../../workflows/messages.js';
import { NOTICES_TYPE } from '../../../workflows/notices-messages.js';
import { OUTAGE_TYPE } from '../../../workflows/outage-messages.js';
import { REDRIVE_TYPE } from '../../../workflows/redrive-messages.js';
import { SCHEDULED_SWEEP_TYPE, SWEEP_TYPE } from '../../../workflows/sweep-messages.js';
import type { Config } from '../../config.js';
import { counted } from '../../plural.js';
import type { TemporalTarget } from '../../temporal/connect.js';
import { errorText } from '../../temporal/error-text.js';
import { quoted } from '../../temporal/quoted.js';
import { searchAttributes } from '../../temporal/search-attributes.js';
import { type Finding, found, ok, warn } from './finding.js';

/** All that a worker of keymend has. */
export const OURS: readonly string[] = [
  WORKFLOW_TYPE,
  BATCH_TYPE,
  GAP_TYPE,
  NOTICES_TYPE,
  OUTAGE_TYPE,
  REDRIVE_TYPE,
  SCHEDULED_SWEEP_TYPE,
  SWEEP_TYPE,
];
const DAY_S = 24 * 60 * 60;

export async function checkTemporal(client: Client, config: Config, target: TemporalTarget): Promise<Finding[]> {
  const where = `Temporal at ${target.address}, namespace ${target.namespace}`;
  const said = (error: string) => warn(`${where}: not all could be looked at: ${error}`);
  const checks = [reached, retention, attributes, strangers].map((check) =>
    found(async () => check(client, where, config).catch(explain), said),
  );
  return (await Promise.all(checks)).flat();
}

function explain(error: unknown): never {
  throw new Error(errorText(error), { cause: error });
}

async function reached({ workflowService }: Client, where: string): Promise<Finding[]> {
  const { serverVersion } = await workflowService.getSystemInfo({});
  return [ok(`${where} answers (server ${serverVersion})`)];
}

async function retention({ workflowService, options }: Client, where: string): Promise<Finding[]> {
  const { config } = await workflowService.describeNamespace({ namespace: options.namespace });
  const seconds = Number(config?.workflowExecutionRetentionTtl?.seconds ?? 0);
  const days = (seconds / DAY_S).toFixed(1).replace(/\.0$/, '');
  if (seconds >= DAY_S) return [ok(`${where} keeps closed workflows for ${days} days`)];
  const remedy = `\`temporal operator namespace update --retention 3d ${options.namespace}\``;
  return [warn(`${where} keeps closed workflows for ${days} days: what became of a key is soon forgotten`, remedy)];
}

async function attributes({ connection, options }: Client, where: string): Promise<Finding[]> {
  const { problem } = await searchAttributes(connection, options.namespace);
  if (problem === null) return [ok(`${where} has all search attributes, of type Keyword`)];
  const [what, remedy = null] = problem.split('; ');
  return [warn(`${what}: escalated keys can't be found`, remedy)];
}

/** Whether others use the namespace: a run of theirs under the ID of a key takes its signals. */
async function strangers(client: Client, where: string, { links, temporal }: Config): Promise<Finding[]> {
  const count = async (clause: string) =>
    (await client.workflow.count(`ExecutionStatus = "Running" AND ${clause}`)).count;
  const [others, otherQueues] = await Promise.all([
    count(`WorkflowType NOT IN (${OURS.map(quoted).join(', ')})`),
    count(`WorkflowType = ${quoted(WORKFLOW_TYPE)} AND TaskQueue != ${quoted(temporal.taskQueue)}`),
  ]);
  const findings: Finding[] = [];
  const bare = links.filter(({ workflowIdPrefix }) => workflowIdPrefix === '').map(({ name }) => name);
  if (others === 0) findings.push(ok(`${where} has no workflows under way but those of keymend`));
  else if (bare.length === 0)
    findings.push(
      ok(`${where} is shared with ${counted(others, 'workflow')} of others; each link has a workflowIdPrefix`),
    );
  else
    findings.push(
      warn(
        `${where} is shared with ${counted(others, 'workflow')} of others: one under the ID of a key would keep it from being repaired`,
        `give keymend a namespace of its own, or a workflowIdPrefix to link ${bare.join(' and ')}`,
      ),
    );
  if (otherQueues > 0)
    findings.push(
      warn(
        `${counted(otherQueues, 'key')} under way on other task queues than ${temporal.taskQueue}: no worker of this configuration repairs them`,
        'run workers of their configuration until they are done',
      ),
    );
  return findings;
}
