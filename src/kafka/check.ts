/** The check at start that everything keymend needs of Kafka is there. */
import kafkajs, { type Admin, type Kafka } from 'kafkajs';
import type { Logger } from 'pino';
import type { KafkaConfig } from '../config.js';
import { tlsTrouble } from '../tls-trouble.js';
import { alterTopic, createKafka, kafkaErrorMessage } from './client.js';
import { strangersInGroup } from './group.js';
import { describeMissingRights, limitsOf, type Process } from './rights.js';

// kafkajs is CommonJS, and Node sees only some of its names as named exports.
const { ConfigResourceTypes } = kafkajs;

/**
 * Kafka can't be used as the configuration says. The message is one line: what, where, what to do.
 */
class KafkaSetupError extends Error {
  override readonly name = 'KafkaSetupError';
}

/**
 * A dead-letter record is its original and some headers more, so its topic must take somewhat more.
 */
const HEADER_BYTES = 16 * 1024;

const HOUR_MS = 60 * 60 * 1000;
/** A weekend and the day on which somebody looks. */
const SHORT_RETENTION_MS = 72 * HOUR_MS;

/** For who asks for all of keymend. */
const ALL: readonly Process[] = ['bridge', 'worker'];

/**
 * Makes sure that a broker answers, that the topics exist, that its user may do with them what the
 * processes do, and for a bridge that nobody in the group reads another one.
 * @throws KafkaSetupError
 */
export async function checkKafka(config: KafkaConfig, logger: Logger, processes = ALL): Promise<void> {
  // Someone waits in front of a terminal.
  const kafka = createKafka(config, logger, { retries: 3, initialRetryTime: 200 });
  const admin = kafka.admin();
  try {
    await admin.connect();
    const hidden = await checkRights(kafka, config, logger, processes);
    const existing = new Set(await admin.listTopics());
    const isBridge = processes.includes('bridge');
    const unseen = [config.topic, config.deadLetterTopic].filter((topic) => !existing.has(topic));
    // A worker reads no failed writes: that topic may be hidden from its user.
    const missing = isBridge ? unseen : unseen.filter((topic) => !hidden.has(topic));
    if (missing.length > 0) throw new KafkaSetupError(describeMissing(config, missing));
    if (!isBridge) return;
    const strangers = await strangersInGroup(admin, config).catch((error: unknown) => {
      logger.warn(`who else is in the consumer group ${config.groupId} is not known: ${kafkaErrorMessage(error)}`);
      return null;
    });
    if (strangers !== null) throw new KafkaSetupError(strangers);
    await checkTopics(admin, config, logger);
  } catch (error) {
    throw error instanceof KafkaSetupError
      ? error
      : new KafkaSetupError(describeRefusal(config, error), { cause: error });
  } finally {
    // The connection may never have come about; there is nothing to lose on it.
    await admin.disconnect().catch(() => {});
  }
}

/**
 * @returns topics that this user does not see
 * @throws KafkaSetupError when a right is missing without which a process can't do its work
 */
async function checkRights(kafka: Kafka, config: KafkaConfig, logger: Logger, processes: readonly Process[]) {
  const { missing, hidden } = await limitsOf(kafka, config, processes);
  const who = whoIn(config);
  const vital = missing.filter(({ without }) => without === null);
  if (vital.length > 0) throw new KafkaSetupError(describeMissingRights(config, who, vital));
  for (const right of missing) logger.warn(describeMissingRights(config, who, [right]));
  return hidden;
}

/** @throws KafkaSetupError when the topic drops records of its own accord */
async function checkTopics(admin: Admin, config: KafkaConfig, logger: Logger): Promise<void> {
  const { topic, deadLetterTopic } = config;
  let intake: TopicSettings;
  let letters: TopicSettings;
  try {
    [intake, letters] = await Promise.all([settingsOf(admin, topic), settingsOf(admin, deadLetterTopic)]);
  } catch (error) {
    const reason = kafkaErrorMessage(error);
    logger.warn(
      `whether the topics ${topic} and ${deadLetterTopic} keep what they get is not visible to this user: ${reason}`,
    );
    return;
  }
  if (intake.isCompacted) throw new KafkaSetupError(describeCompacted(config));
  for (const line of describeShortage(config, intake)) logger.warn(line);
  if (letters.isCompacted) {
    logger.warn(
      `the dead-letter topic ${deadLetterTopic} is compacted, so of each key only the last letter stays; set its cleanup.policy to delete`,
    );
  }
  if (letters.retentionMs !== null || letters.retentionBytes !== null) logger.warn(describeRetention(config));
  const needed = intake.maxBytes + HEADER_BYTES;
  if (letters.maxBytes >= needed) return;
  logger.warn(
    `the dead-letter topic ${deadLetterTopic} takes no more bytes than ${topic}, so the largest records would not fit into it ` +
      `with their headers; set its max.message.bytes to ${needed} or more`,
  );
}

interface TopicSettings {
  readonly maxBytes: number;
  /** Of records with the same key only the last is kept. */
  readonly isCompacted: boolean;
  /** After which time a record is removed, and beyond which size of a partition; null: never. */
  readonly retentionMs: number | null;
  readonly retentionBytes: number | null;
}

async function settingsOf(admin: Admin, name: string): Promise<TopicSettings> {
  const configNames = ['max.message.bytes', 'cleanup.policy', 'retention.ms', 'retention.bytes'];
  const { resources } = await admin.describeConfigs({
    includeSynonyms: false,
    resources: [{ type: ConfigResourceTypes.TOPIC, name, configNames }],
  });
  const value = (wanted: string) =>
    resources[0]?.configEntries.find(({ configName }) => configName === wanted)?.configValue ?? '';
  const limit = (wanted: string) => (Number.parseInt(value(wanted), 10) >= 0 ? Number(value(wanted)) : null);
  return {
    maxBytes: Number(value('max.message.bytes')),
    isCompacted: value('cleanup.policy').split(',').includes('compact'),
    retentionMs: limit('retention.ms'),
    retentionBytes: limit('retention.bytes'),
  };
}

function describeCompacted({ brokers, topic }: KafkaConfig): string {
  return (
    `the topic ${topic} is compacted, so of each key only the last failed write stays, and what the others name is not repaired; ` +
    `set it to delete: ${alterTopic(brokers, topic, 'cleanup.policy=delete')}`
  );
}

/** Nobody learns of a failed write that is gone before it was read, but by a gap or a sweep. */
function describeShortage(
  { brokers, topic }: KafkaConfig,
  { retentionMs, retentionBytes }: TopicSettings,
): readonly string[] {
  const alter = (setting: string) => alterTopic(brokers, topic, setting);
  const lines: string[] = [];
  if (retentionMs !== null && retentionMs < SHORT_RETENTION_MS) {
    lines.push(
      `the topic ${topic} drops failed writes after ${(retentionMs / HOUR_MS).toFixed(1).replace(/\.0$/, '')} hours, also those that no bridge has read; ` +
        `keep them for longer than the longest outage: ${alter(`retention.ms=${14 * 24 * HOUR_MS}`)}`,
    );
  }
  if (retentionBytes !== null) {
    lines.push(
      `the topic ${topic} drops failed writes beyond ${retentionBytes} bytes a partition, also those that no bridge has read; ` +
        `an outage brings many at once, so let age alone decide: ${alter('retention.bytes=-1')}`,
    );
  }
  return lines;
}

/** Of letters too: a person may come late, and what is gone nobody finds but a sweep. */
function describeRetention({ brokers, deadLetterTopic }: KafkaConfig): string {
  return (
    `the dead-letter topic ${deadLetterTopic} drops letters by age or size, also those that nobody has dealt with; keep all: ` +
    alterTopic(brokers, deadLetterTopic, 'retention.ms=-1,retention.bytes=-1')
  );
}

function describeMissing({ brokers, deadLetterTopic }: KafkaConfig, missing: readonly string[]): string {
  const server = brokers.join(',');
  // Dead letters wait for a person, and the largest record must fit with its headers.
  const settings = '--config retention.ms=-1 --config max.message.bytes=2097152';
  const create = missing.map((topic) =>
    [`kafka-topics.sh --bootstrap-server ${server} --create --topic ${topic}`]
      .concat(topic === deadLetterTopic ? settings : [])
      .join(' '),
  );
  return (
    `Kafka at ${server} has no topic ${missing.join(' and ')} (or hides it from this user); ` +
    `create it, for example: ${create.join(' && ')}`
  );
}

/** OpenSSL says where in its code it was. */
function inShort(reason: string): string {
  return reason.replace(/\S*:SSL routines:[^:]*:([^:]*):.*$/s, '$1').trim();
}

function whoIn({ sasl, ssl }: KafkaConfig): string {
  if (sasl === undefined) {
    const certificate = typeof ssl === 'object' ? ssl.certFile : undefined;
    return certificate === undefined ? 'a connection without a user' : `the certificate ${certificate}`;
  }
  return sasl.mechanism === 'oauthbearer' ? `the token of ${sasl.tokenFile}` : `user "${sasl.username}"`;
}

const TLS_SETTINGS = { ca: 'kafka.ssl.caFile', certificate: 'kafka.ssl.certFile', serverName: 'kafka.ssl.serverName' };

function describeRefusal(config: KafkaConfig, error: unknown): string {
  const { brokers, sasl } = config;
  const server = brokers.join(',');
  const reason = kafkaErrorMessage(error);
  if (error instanceof Error && (error.name.includes('SASL') || /SASL/.test(reason))) {
    return `Kafka at ${server} refuses ${whoIn(config)} (${reason}); check kafka.sasl in the configuration`;
  }
  const trouble = tlsTrouble(reason, TLS_SETTINGS);
  if (trouble !== undefined) return `Kafka does not answer at ${server}: ${trouble} (${inShort(reason)})`;
  // Of OAUTHBEARER kafkajs takes any answer for a welcome.
  const token = sasl?.tokenFile && `, and the token in ${sasl.tokenFile}: on a wrong one a broker hangs up`;
  return `Kafka does not answer at ${server} (${reason}); check that it runs and kafka.brokers, kafka.ssl in the configuration${token ?? ''}`;
}
