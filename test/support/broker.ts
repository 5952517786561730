/** A Kafka broker with settings of a test's own; gone when its tests are. */
import { execFileSync, spawn } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { provideKafka } from '../../src/stack/programs/kafka-program.js';
import { freePort } from './redis.js';

const HEAP = '256m';

/** How the JAAS names of Kafka's own login modules begin. */
export const LOGIN_MODULES = 'org.apache.kafka.common.security';

/**
 * One node, with a controller that is reached without a login.
 * @param settings of the listeners and whatever else, as server.properties has it; `CONTROLLER` is
 *   there already
 * @param format further arguments of the storage tool
 * @returns ends it
 */
export async function startBroker(
  { listeners, protocols, settings }: { listeners: string; protocols: string; settings: string },
  format: readonly string[] = [],
): Promise<() => Promise<void>> {
  const folder = mkdtempSync(join(tmpdir(), 'keymend-broker-'));
  const environment = { ...process.env, LOG_DIR: join(folder, 'logs') };
  const kafka = await provideKafka({ environment, report: () => {} });
  const controller = await freePort();
  const properties = join(folder, 'server.properties');
  writeFileSync(
    properties,
    `process.roles=broker,controller
node.id=1
controller.quorum.voters=1@127.0.0.1:${controller}
listeners=${listeners},CONTROLLER://127.0.0.1:${controller}
advertised.listeners=${listeners}
controller.listener.names=CONTROLLER
listener.security.protocol.map=CONTROLLER:PLAINTEXT,${protocols}
log.dirs=${join(folder, 'data')}
auto.create.topics.enable=false
offsets.topic.replication.factor=1
offsets.topic.num.partitions=1
group.initial.rebalance.delay.ms=0
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
${settings}`,
  );
  const id = randomBytes(16).toString('base64url').replace(/^-/, 'A');
  const formatting = kafka.storageTool(['format', '--cluster-id', id, '--config', properties, ...format]);
  execFileSync(formatting.program, [...formatting.arguments], { env: environment, stdio: 'ignore' });
  const { program, arguments: args } = kafka.server(properties, HEAP);
  const child = spawn(program, [...args], { env: environment, stdio: 'ignore' });
  const exited = new Promise<void>((resolve) => child.once('exit', () => resolve()));
  const killOnExit = () => child.kill('SIGKILL');
  process.once('exit', killOnExit);
  return async () => {
    process.removeListener('exit', killOnExit);
    child.kill('SIGKILL');
    await exited;
    rmSync(folder, { recursive: true, force: true });
  };
}
