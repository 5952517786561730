/** A Kafka that is reached by TLS alone, with and without a login; gone when its tests are. */
import { readFileSync } from 'node:fs';
import type { Certificates } from '../support/authority.js';
import { LOGIN_MODULES, startBroker } from '../support/broker.js';
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

export async function startTlsBroker({ right, authority }: Certificates): Promise<TlsBroker> {
  const [mutual, login] = [`127.0.0.1:${await freePort()}`, `127.0.0.1:${await freePort()}`];
  const pem = authority.file('broker.pem', `${readFileSync(right.keyFile)}${readFileSync(right.certFile)}`);
  const listener = 'listener.name.sasl_ssl';
  const settings = `inter.broker.listener.name=SSL
ssl.keystore.type=PEM
ssl.keystore.location=${pem}
ssl.truststore.type=PEM
ssl.truststore.location=${authority.caFile}
listener.name.ssl.ssl.client.auth=required
sasl.enabled.mechanisms=PLAIN,SCRAM-SHA-256,SCRAM-SHA-512,OAUTHBEARER
${listener}.plain.sasl.jaas.config=${LOGIN_MODULES}.plain.PlainLoginModule required user_plain="${PASSWORD}";
${listener}.scram-sha-256.sasl.jaas.config=${LOGIN_MODULES}.scram.ScramLoginModule required;
${listener}.scram-sha-512.sasl.jaas.config=${LOGIN_MODULES}.scram.ScramLoginModule required;
${listener}.oauthbearer.sasl.jaas.config=${LOGIN_MODULES}.oauthbearer.OAuthBearerLoginModule required;
`;
  const users = [256, 512].flatMap((bits) => [
    '--add-scram',
    `SCRAM-SHA-${bits}=[name=scram${bits},password="${PASSWORD}"]`,
  ]);
  const listeners = `SSL://${mutual},SASL_SSL://${login}`;
  const stop = await startBroker({ listeners, protocols: 'SSL:SSL,SASL_SSL:SASL_SSL', settings }, users);
  return { mutual, login, stop };
}
