/** `keymend stack up|down|status` */
import { basename, join, resolve } from 'node:path';
import {
  KEYMEND,
  KEYMEND_TITLE,
  type ServiceStatus,
  type StackInfo,
  stackDown,
  stackStatus,
  stackUp,
  wasStarted,
  whatRuns,
} from '../../stack/index.js';
import { EXIT, type GlobalOptions, print, report, VerbError } from '../context.js';
import { STACK_DIRECTORY } from '../usage/options.js';

/** @param mysql also a MariaDB */
export async function up(directory: string, mysql: boolean, global: GlobalOptions): Promise<void> {
  const info = await upUnlessInterrupted(directory, mysql);
  print(global, info, () => describeInfo(info, directory));
}

export async function down(directory: string, global: GlobalOptions): Promise<void> {
  const { stopped } = await stackDown({ directory, report });
  if (stopped.length === 0)
    report(wasStarted(directory) ? `nothing runs in ${resolve(directory)}` : absence(directory));
  if (stopped.length > 0 || global.output === 'json') print(global, { stopped }, () => ['stopped; the data stays']);
}

export async function services(directory: string, global: GlobalOptions): Promise<void> {
  if (!wasStarted(directory)) report(absence(directory));
  const states = await stackStatus({ directory, environment: process.env });
  print(global, states, () => states.map(describeService));
}

/** @returns the command that stops what runs in this directory */
export function downCommand(directory: string): string {
  return `npx keymend stack down${directory === STACK_DIRECTORY ? '' : ` --directory ${directory}`}`;
}

/**
 * The first Ctrl-C ends the fetching and starting, and the last line says what stays; the second
 * ends the process at once.
 */
async function upUnlessInterrupted(directory: string, mysql: boolean): Promise<StackInfo> {
  const interruption = new AbortController();
  const interrupt = () => interruption.abort();
  process.once('SIGINT', interrupt).once('SIGTERM', interrupt);
  try {
    return await stackUp({ directory, environment: process.env, report, mysql, signal: interruption.signal });
  } catch (error) {
    if (!interruption.signal.aborted) throw error;
    const running = whatRuns(directory);
    throw new VerbError(
      running.length === 0
        ? 'interrupted; nothing stays running'
        : `interrupted; stays running: ${running.join(', ')}; stop it with \`${downCommand(directory)}\``,
      EXIT.interrupted,
    );
  } finally {
    process.off('SIGINT', interrupt).off('SIGTERM', interrupt);
  }
}

function describeInfo(info: StackInfo, directory: string): string[] {
  return [
    `Temporal      ${info.temporal.address}`,
    `Web UI        ${info.temporal.ui}`,
    `Kafka         ${info.kafka.brokers.join(', ')}`,
    `Redis source  ${info.redis.source}`,
    `Redis target  ${info.redis.target}`,
    ...(info.mysql === undefined ? [] : [`MariaDB       ${info.mysql}`]),
    `config        ${info.config}`,
    '',
    `next          npx keymend start --config ${join(directory, basename(info.config))}`,
    `to stop it    ${downCommand(directory)}`,
  ];
}

function describeService({ service, state, address, answers }: ServiceStatus): string {
  const silent = state !== 'stopped' && !answers ? '  (does not answer)' : '';
  const where = service === KEYMEND ? KEYMEND_TITLE : (address ?? '');
  return `${service.padEnd(14)} ${state.padEnd(9)} ${where}${silent}`;
}

/** Whoever is in another folder than at `stack up` would take running services for stopped. */
function absence(directory: string): string {
  return `no stack was ever started in ${resolve(directory)}; go where you started it, or name that with --directory`;
}
