/** The connection to Kafka: the client with its logs, and what its errors say. */
import { isIP, connect as plainConnect } from 'node:net';
import { connect as tlsConnect } from 'node:tls';
import kafkajs, {
  type ISocketFactory,
  Kafka,
  type LogEntry,
  logLevel,
  type RetryOptions,
  type SASLOptions,
} from 'kafkajs';
import type { Logger } from 'pino';
import type { KafkaConfig } from '../config.js';
import { readSecret, readTls, SecretFileError } from '../secret-files.js';

// kafkajs is CommonJS, and Node sees only some of its names as named exports.
const { KafkaJSConnectionError } = kafkajs;

type KafkaLogin = NonNullable<KafkaConfig['sasl']>;

/** kafkajs would pause for up to 30 s; a broker is usually back sooner. */
const RETRY: RetryOptions = { retries: 5, initialRetryTime: 300, maxRetryTime: 3_000 };

/** Nothing happens before a producer, consumer or admin of it connects. */
export function createKafka({ brokers, ssl, sasl }: KafkaConfig, logger: Logger, retry = RETRY): Kafka {
  return new Kafka({
    clientId: 'keymend',
    brokers: [...brokers],
    ssl: ssl !== false,
    socketFactory: socketsFor(ssl),
    connectionTimeout: 3_000,
    ...(sasl && { sasl: loginOf(sasl) }),
    retry,
    logLevel: logLevel.INFO,
    logCreator: () => logTo(logger),
  });
}

const KEEP_ALIVE_MS = 60_000;

/** As those of kafkajs, but that the files are read with each connect: they may be replaced. */
function socketsFor(ssl: KafkaConfig['ssl']): ISocketFactory {
  return ({ host, port, onConnect }) => {
    const usual = isIP(host) === 0 ? { host, port, servername: host } : { host, port };
    const secure = () => tlsConnect({ ...usual, ...(ssl !== true && ssl !== false && readTls(ssl)) }, onConnect);
    const socket = ssl === false ? plainConnect({ host, port }, onConnect) : secure();
    return socket.setKeepAlive(true, KEEP_ALIVE_MS);
  };
}

/** kafkajs looks at it with each login, so a file that was replaced counts from the next one on. */
function loginOf({ mechanism, username, password, passwordFile, tokenFile }: KafkaLogin): SASLOptions {
  if (mechanism === 'oauthbearer') {
    return { mechanism, oauthBearerProvider: async () => ({ value: secretOf(tokenFile!) }) };
  }
  return {
    mechanism,
    username: username!,
    get password() {
      return passwordFile === undefined ? password! : secretOf(passwordFile);
    },
  } as SASLOptions;
}

/**
 * A file that is being replaced is empty for a moment. Kafkajs is to try again then, on a new
 * connection, for this one has begun to log in: so it does of this error. Any other would end the
 * consumer for good.
 */
function secretOf(path: string): string {
  try {
    return readSecret(path);
  } catch (error) {
    if (!(error instanceof SecretFileError)) throw error;
    // Without its cause, by which kafkajs would go. All that is known is in the message.
    throw new KafkaJSConnectionError(error.message);
  }
}

/** The message of a kafkajs error without the names of the errors it is wrapped in. */
export function kafkaErrorMessage(error: unknown): string {
  return error instanceof Error ? error.message.replace(/^(Error|KafkaJS\w+): /, '') : String(error);
}

/**
 * The Kafka protocol's name of an error, such as MESSAGE_TOO_LARGE, wherever it is in the chain of
 * causes.
 */
export function kafkaErrorType(error: unknown): string | undefined {
  for (let current = error; current instanceof Error; current = current.cause) {
    if ('type' in current && typeof current.type === 'string') return current.type;
  }
  return undefined;
}

const DENIED: ReadonlySet<string> = new Set([
  'TOPIC_AUTHORIZATION_FAILED',
  'GROUP_AUTHORIZATION_FAILED',
  // Of a user who may write no topic at all.
  'CLUSTER_AUTHORIZATION_FAILED',
]);

/** Whether a right is missing, which no further try changes. */
export function isDenied(error: unknown): boolean {
  return DENIED.has(kafkaErrorType(error) ?? '');
}

/** Whether it is the group that is denied, as far as can be known. */
export function isOfGroup(error: unknown): boolean {
  return isHiddenGroup(error) || kafkaErrorType(error) === 'GROUP_AUTHORIZATION_FAILED';
}

/** Of a group kafkajs keeps to itself why it finds no coordinator. */
function isHiddenGroup(error: unknown): boolean {
  return error instanceof Error && error.name === 'KafkaJSGroupCoordinatorNotFound';
}

/**
 * As `kafkaErrorMessage`, and where a right is missing which one: Kafka says that it is not
 * allowed, but not what.
 */
export function explainDenied(error: unknown, operation: string, of: 'topic' | 'group', name: string): string {
  const message = kafkaErrorMessage(error);
  if (of === 'group' && isHiddenGroup(error))
    return `${message}; Kafka says the same to a user who may not ${operation} the group ${name}`;
  if (!isDenied(error)) return message;
  return `${message}; allow this user to ${operation} the ${of}: kafka-acls.sh --add --operation ${operation} --${of} ${name}`;
}

/**
 * kafkajs reports every single attempt as an error, up to several a second; whatever matters of
 * that reaches its callers as an exception or an event, and they report it once. What no caller
 * hears of is what it says of the group: partitions that nobody reads, an offset that is gone.
 */
function logTo(logger: Logger): (entry: LogEntry) => void {
  return ({ namespace, level, log: { message, topic, partition, broker, groupId, error } }) => {
    const fields = { namespace, topic, partition, broker, groupId, error };
    if (namespace === 'ConsumerGroup' && level === logLevel.ERROR) logger.error(fields, `Kafka: ${message}`);
    else if (namespace === 'ConsumerGroup' && level === logLevel.WARN) logger.warn(fields, `Kafka: ${message}`);
    else logger.debug(fields, `Kafka: ${message}`);
  };
}

/** The command that changes settings of a topic, for whoever reads an error. */
export function alterTopic(brokers: readonly string[], topic: string, settings: string): string {
  const at = `--bootstrap-server ${brokers.join(',')}`;
  return `kafka-configs.sh ${at} --alter --entity-type topics --entity-name ${topic} --add-config ${settings}`;
}
