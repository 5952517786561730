/** A Kafka that is reached by TLS alone, with and without a login; gone when its tests are. */
import { execFileSync, spawn } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { provideKafka } from '../../src/stack/programs/kafka-program.js';
import type { Certificates } from '../support/authority.js';
import { freePort } from '../support/redis.js';

export interface TlsBroker {
  /** Where a certificate is wanted of clients, and nothing else. */
  readonly mutual: string;
  /** Where a login is wanted: see `PASSWORD`. */
  readonly login: string;
  stop(): Promise<void>;
}

/** Of `plain`, `scram256` and `scram512`, the users; the last two by SCRAM. */
export const PASSWORD = 'se-cret+1';
const HEAP = '256m';
const MODULE = 'org.apache.kafka.common.security';

export async function startTlsBroker(certificates: Certificates): Promise<TlsBroker> {
  const folder = mkdtempSync(join(tmpdir(), 'keymend-tls-kafka-'));
  const environment = { ...process.env, LOG_DIR: join(folder, 'logs') };
  const kafka = await provideKafka({ environment, report: () => {} });
  const [mutual, login, controller] = [await freePort(), await freePort(), await freePort()];
  const { right, authority } = certificates;
  const pem = join(folder, 'broker.pem');
  writeFileSync(pem, `${readFileSync(right.keyFile)}${readFileSync(right.certFile)}`);
  const properties = join(folder, 'server.properties');
  const listener = 'listener.name.sasl_ssl';
  writeFileSync(
    properties,
    `process.roles=broker,controller
node.id=1
controller.quorum.voters=1@127.0.0.1:${controller}
listeners=SSL://127.0.0.1:${mutual},SASL_SSL://127.0.0.1:${login},CONTROLLER://127.0.0.1:${controller}
advertised.listeners=SSL://127.0.0.1:${mutual},SASL_SSL://127.0.0.1:${login}
controller.listener.names=CONTROLLER
listener.security.protocol.map=CONTROLLER:PLAINTEXT,SSL:SSL,SASL_SSL:SASL_SSL
inter.broker.listener.name=SSL
ssl.keystore.type=PEM
ssl.keystore.location=${pem}
ssl.truststore.type=PEM
ssl.truststore.location=${authority.caFile}
listener.name.ssl.ssl.client.auth=required
sasl.enabled.mechanisms=PLAIN,SCRAM-SHA-256,SCRAM-SHA-512,OAUTHBEARER
${listener}.plain.sasl.jaas.config=${MODULE}.plain.PlainLoginModule required user_plain="${PASSWORD}";
${listener}.scram-sha-256.sasl.jaas.config=${MODULE}.scram.ScramLoginModule required;
${listener}.scram-sha-512.sasl.jaas.config=${MODULE}.scram.ScramLoginModule required;
${listener}.oauthbearer.sasl.jaas.config=${MODULE}.oauthbearer.OAuthBearerLoginModule required;
log.dirs=${join(folder, 'data')}
offsets.topic.replication.factor=1
offsets.topic.num.partitions=1
`,
  );
  const users = [256, 512].flatMap((bits) => [
    '--add-scram',
    `SCRAM-SHA-${bits}=[name=scram${bits},password="${PASSWORD}"]`,
  ]);
  const id = randomBytes(16).toString('base64url').replace(/^-/, 'A');
  const format = kafka.storageTool(['format', '--cluster-id', id, '--config', properties, ...users]);
  execFileSync(format.program, [...format.arguments], { env: environment, stdio: 'ignore' });
  const { program, arguments: args } = kafka.server(properties, HEAP);
  const child = spawn(program, [...args], { env: environment, stdio: 'ignore' });
  const exited = new Promise<void>((resolve) => child.once('exit', () => resolve()));
  const killOnExit = () => child.kill('SIGKILL');
  process.once('exit', killOnExit);
  return {
    mutual: `127.0.0.1:${mutual}`,
    login: `127.0.0.1:${login}`,
    async stop() {
      process.removeListener('exit', killOnExit);
      child.kill('SIGKILL');
      await exited;
      rmSync(folder, { recursive: true, force: true });
    },
  };
}
