/** Kafka by TLS, with and without a login, as its own listeners want it. */
import { randomUUID } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { type Logger, pino } from 'pino';
import { afterAll, beforeAll, describe, expect, it, onTestFinished } from 'vitest';
import { type KafkaConfig, parseConfig } from '../../src/config.js';
import { checkKafka } from '../../src/kafka/check.js';
import { createKafka } from '../../src/kafka/client.js';
import { type Certificates, makeCertificates } from '../support/authority.js';
import { eventually } from '../support/eventually.js';
import { stack } from '../support/services.js';
import { createTopics } from '../support/topics.js';
import { PASSWORD, startTlsBroker, type TlsBroker } from './kafka-broker.js';
import { startTlsProxy } from './terminating.js';

const SILENT: Logger = pino({ level: 'silent' });
const TOPICS = { topic: 'failed-writes', deadLetterTopic: 'dead-letters' };

let certificates: Certificates;
let broker: TlsBroker;
beforeAll(async () => {
  certificates = makeCertificates();
  broker = await startTlsBroker(certificates);
  const admin = createKafka(mutual(), SILENT).admin();
  await eventually(() => admin.connect());
  await createTopics(admin, { topic: TOPICS.topic }, { topic: TOPICS.deadLetterTopic });
  await admin.disconnect();
});
afterAll(async () => {
  await broker?.stop();
  certificates?.remove();
});

/** As keymend.yaml has it. */
function configured(kafka: object): KafkaConfig {
  const links = [{ name: 'l', source: { url: 'redis://a' }, target: { url: 'redis://b' } }];
  const given = { kafka: { ...TOPICS, groupId: randomUUID(), ...kafka }, links };
  return parseConfig(JSON.stringify(given), 'test', {}).kafka as KafkaConfig;
}

function mutual(ssl: object = {}): KafkaConfig {
  const usual = { caFile: certificates.authority.caFile, ...certificates.client };
  return configured({ brokers: [broker.mutual], ssl: { ...usual, ...ssl } });
}

describe('a certificate', () => {
  it('of a known authority is good, on both sides', async () => {
    await expect(checkKafka(mutual(), SILENT)).resolves.toBeUndefined();
  });

  it.each<[what: string, config: () => KafkaConfig, says: RegExp]>([
    [
      'of an authority that is not trusted',
      () => mutual({ caFile: certificates.stranger.caFile }),
      /^Kafka does not answer at \S+: nobody who is trusted here has signed its certificate; give that authority's as kafka\.ssl\.caFile \(.+\)$/,
    ],
    [
      'of ours that is missing',
      () => mutual({ certFile: undefined, keyFile: undefined }),
      /it wants a certificate that it trusts from whoever connects; give one as kafka\.ssl\.certFile \(.+\)$/,
    ],
    [
      'in a file that is not there',
      () => mutual({ caFile: '/nowhere/ca.crt' }),
      /the file \/nowhere\/ca\.crt can't be read \(ENOENT\); check that it is there and who may read it/,
    ],
  ])('%s is one line', async (_what, config, says) => {
    await expect(checkKafka(config(), SILENT)).rejects.toThrow(says);
  });

  it.each<[what: string, server: 'expired' | 'ofOtherName', says: RegExp]>([
    ['that has expired', 'expired', /: its certificate has expired; renew it there \(.+\)$/],
    [
      'for another name',
      'ofOtherName',
      /: its certificate is for another name; correct the host, or say with kafka\.ssl\.serverName/,
    ],
  ])('%s is one line', async (_what, server, says) => {
    const port = Number(stack().kafka.brokers[0]!.split(':')[1]);
    const proxy = await startTlsProxy(port, certificates[server]);
    onTestFinished(() => proxy.close());
    const { caFile } = certificates.authority;
    const config = configured({ brokers: [`127.0.0.1:${proxy.port}`], ssl: { caFile } });
    await expect(checkKafka(config, SILENT)).rejects.toThrow(says);
  });
});

describe('files that are replaced', () => {
  it.each(['certificate and key', 'authority'])('count from the next connection on: %s', async (what) => {
    const { authority, stranger, client } = certificates;
    const ofStranger = stranger.issue({ name: 'keymend' });
    const given = (isRight: boolean) => {
      const own = isRight || what === 'authority' ? client : ofStranger;
      const trusted = isRight || what !== 'authority' ? authority : stranger;
      const put = (name: string, from: string) => authority.file(`replaced-${name}`, readFileSync(from, 'utf8'));
      return {
        certFile: put('crt', own.certFile),
        keyFile: put('key', own.keyFile),
        caFile: put('ca', trusted.caFile),
      };
    };
    // One client, as a bridge has it for as long as it runs.
    const kafka = createKafka(mutual(given(true)), SILENT, { retries: 0 });
    const connect = async () => {
      const admin = kafka.admin();
      onTestFinished(() => admin.disconnect());
      await admin.connect();
    };
    await expect(connect()).resolves.toBeUndefined();
    given(false);
    await expect(connect()).rejects.toThrow(/certificate/i);
    given(true);
    await expect(connect()).resolves.toBeUndefined();
  });
});

/** A token that nobody has signed, which the broker of the tests takes. */
function tokenFor(user: string): string {
  const part = (json: object) => Buffer.from(JSON.stringify(json)).toString('base64url');
  const now = Math.floor(Date.now() / 1_000);
  return `${part({ alg: 'none' })}.${part({ sub: user, iat: now, exp: now + 600 })}.`;
}

describe('a login', () => {
  const login = (sasl: object) =>
    configured({ brokers: [broker.login], ssl: { caFile: certificates.authority.caFile }, sasl });

  it.each([
    ['plain', 'plain'],
    ['scram-sha-256', 'scram256'],
    ['scram-sha-512', 'scram512'],
  ])(
    'by %s is that of the configuration, or of a file which is read with each connect',
    async (mechanism, username) => {
      const { authority } = certificates;
      await expect(checkKafka(login({ mechanism, username, password: PASSWORD }), SILENT)).resolves.toBeUndefined();
      const passwordFile = authority.file(mechanism, 'wrong');
      const ofFile = login({ mechanism, username, passwordFile });
      await expect(checkKafka(ofFile, SILENT)).rejects.toThrow(`refuses user "${username}"`);
      authority.file(mechanism, `${PASSWORD}\n`);
      await expect(checkKafka(ofFile, SILENT)).resolves.toBeUndefined();
    },
  );

  it('by oauthbearer sends the token of a file, which is read with each connect', async () => {
    const tokenFile = certificates.authority.file('token', 'no-token');
    const config = login({ mechanism: 'oauthbearer', tokenFile });
    await expect(checkKafka(config, SILENT)).rejects.toThrow(
      /^Kafka does not answer at \S+ .*, and the token in \S+token: on a wrong one a broker hangs up$/,
    );
    certificates.authority.file('token', tokenFor('keymend'));
    await expect(checkKafka(config, SILENT)).resolves.toBeUndefined();
  });

  it.each([
    ['plain', { username: 'plain' }, 'passwordFile', () => PASSWORD],
    ['scram-sha-256', { username: 'scram256' }, 'passwordFile', () => PASSWORD],
    ['oauthbearer', {}, 'tokenFile', () => tokenFor('keymend')],
  ])('by %s waits for a file that is empty because it is being replaced', async (mechanism, who, field, secret) => {
    const name = `replaced-${mechanism}`;
    const file = certificates.authority.file(name, '');
    // What kafkajs says of an attempt that has failed is the moment to write the file.
    const write = (line: string) => void (line.includes('is empty') && certificates.authority.file(name, secret()));
    const admin = createKafka(login({ mechanism, ...who, [field]: file }), pino({ level: 'debug' }, { write })).admin();
    onTestFinished(() => admin.disconnect());
    await expect(admin.connect()).resolves.toBeUndefined();
  });

  it.each<[what: string, sasl: object, says: string]>([
    ['without a password', { mechanism: 'plain', username: 'u' }, 'kafka.sasl.password: is missing, or a passwordFile'],
    [
      'with two',
      { mechanism: 'plain', username: 'u', password: 'p', passwordFile: 'f' },
      'kafka.sasl.passwordFile: is given beside another password; keep one',
    ],
    ['without a user', { mechanism: 'plain', password: 'p' }, 'kafka.sasl.username: is missing'],
    ['without a token', { mechanism: 'oauthbearer' }, 'kafka.sasl.tokenFile: is missing'],
    [
      'with a token and a password',
      { mechanism: 'oauthbearer', tokenFile: 'f', password: 'p' },
      'kafka.sasl.password: is not for oauthbearer, which sends a token',
    ],
    [
      'with a password and a token',
      { mechanism: 'plain', username: 'u', password: 'p', tokenFile: 'f' },
      'kafka.sasl.tokenFile: is only for oauthbearer',
    ],
  ])('%s is refused with its place', (_what, sasl, says) => {
    expect(() => configured({ brokers: ['h:1'], sasl })).toThrow(says);
  });
});
