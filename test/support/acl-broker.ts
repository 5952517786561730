/** A Kafka that lets each user do what was allowed and nothing else; gone when its tests are. */
import kafkajs, { type AclOperationTypes, type Admin, Kafka, logLevel } from 'kafkajs';
import { LOGIN_MODULES, startBroker } from './broker.js';
import { eventually } from './eventually.js';
import { freePort } from './redis.js';

/** READ and WRITE include DESCRIBE. */
export type Right = readonly [operation: keyof typeof AclOperationTypes, of: 'TOPIC' | 'GROUP', name: string];

export interface AclBroker {
  /** How a user reaches it, as keymend.yaml and kafkajs take it. */
  as(user: string): { brokers: string[]; sasl: { mechanism: 'plain'; username: string; password: string } };
  /** Of somebody who may do all. */
  readonly kafka: Kafka;
  readonly admin: Admin;
  stop(): Promise<void>;
}

const PASSWORD = 'se-cret';
/** Of the test itself. */
const ADMIN = 'admin';

/** @param users with what each of them may do */
export async function startAclBroker(users: Readonly<Record<string, readonly Right[]>>): Promise<AclBroker> {
  const [address, inner] = [`127.0.0.1:${await freePort()}`, `127.0.0.1:${await freePort()}`];
  const logins = [ADMIN, ...Object.keys(users)].map((user) => `user_${user}="${PASSWORD}"`).join(' ');
  const stop = await startBroker({
    listeners: `OUTER://${address},INNER://${inner}`,
    protocols: 'OUTER:SASL_PLAINTEXT,INNER:PLAINTEXT',
    settings: `inter.broker.listener.name=INNER
sasl.enabled.mechanisms=PLAIN
listener.name.outer.plain.sasl.jaas.config=${LOGIN_MODULES}.plain.PlainLoginModule required ${logins};
authorizer.class.name=org.apache.kafka.metadata.authorizer.StandardAuthorizer
allow.everyone.if.no.acl.found=false
super.users=User:ANONYMOUS;User:${ADMIN}
`,
  });
  const as = (username: string) => ({
    brokers: [address],
    sasl: { mechanism: 'plain' as const, username, password: PASSWORD },
  });
  const kafka = new Kafka({ ...as(ADMIN), logLevel: logLevel.NOTHING });
  const admin = kafka.admin();
  await eventually(() => admin.connect());
  const { ALLOW } = kafkajs.AclPermissionTypes;
  const acl = Object.entries(users).flatMap(([user, rights]) =>
    rights.map(([operation, of, resourceName]) => ({
      principal: `User:${user}`,
      host: '*',
      operation: kafkajs.AclOperationTypes[operation],
      permissionType: ALLOW,
      resourceType: kafkajs.AclResourceTypes[of],
      resourceName,
      resourcePatternType: kafkajs.ResourcePatternTypes.LITERAL,
    })),
  );
  await admin.createAcls({ acl });
  return {
    as,
    kafka,
    admin,
    async stop() {
      await admin.disconnect();
      await stop();
    },
  };
}
