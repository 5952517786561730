/**
 * `keymend.yaml`: read, checked and frozen once; everything else gets the parsed value passed in.
 * This is the only place of the product that looks at `KEYMEND_CONFIG` and at `${NAME}` variables.
 */
import { existsSync, readFileSync } from 'node:fs';
import { resolve } from 'node:path';
import { parse as parseYaml, YAMLParseError } from 'yaml';
import { z } from 'zod';
import { DEAD_LETTER_REASONS } from '../workflows/dead-letter-reasons.js';
import { DEFAULT_POLICY, type LinkPolicy } from '../workflows/policy.js';
import { codec } from './config-codec.js';
import { cacheProblems, mappings, mysqlSource } from './config-mysql.js';
import { addressMap, kafkaLogin, secretFile, TWO_PASSWORDS, tlsFiles } from './config-tls.js';
import { duration, pause, size } from './config-values.js';
import { CACHE_LEASE_MS, LARGE_VALUES, LINK_NAME, MAX_LINK_LENGTH, OUTBOX_KEY } from './defaults.js';
import { didYouMean } from './did-you-mean.js';
import { httpConfig } from './http-config.js';
import { parseRedisUrl, urlProblem } from './redis-url.js';
import { readSecret } from './secret-files.js';
import { tracingConfig } from './tracing-config.js';
import { webhookOptions } from './webhook-options.js';

/**
 * The configuration can't be used. The message is one line: the file, the place in it, what is
 * wrong.
 */
export class ConfigError extends Error {
  override readonly name = 'ConfigError';
}

const interval = pause(60_000);

/** @returns ms; null: it is no time, or less than a minute */
export function parseInterval(text: string): number | null {
  const parsed = interval.safeParse(text);
  return parsed.success ? parsed.data : null;
}

const url = z.string().superRefine((text, context) => {
  const problem = urlProblem(text);
  if (problem !== undefined) context.addIssue({ code: 'custom', message: problem });
});

/** One that can't be read is refused for that. */
function isDatabase0(text: string): boolean {
  return urlProblem(text) !== undefined || (parseRedisUrl(text).db ?? 0) === 0;
}

/** As `isDatabase0`. */
function saysNoMore(text: string): boolean {
  if (urlProblem(text) !== undefined) return true;
  const { db, family, path } = parseRedisUrl(text);
  return db === undefined && family === undefined && path === undefined;
}

const access = {
  passwordFile: secretFile
    .optional()
    .describe('A file with the password, instead of one in the url. Read at each connect, so it may be replaced.'),
  tls: tlsFiles.optional().describe('For `rediss://`: files in PEM, read at each connect, so they may be replaced.'),
};
const mapped = {
  addressMap: addressMap
    .optional()
    .describe('Where servers are reached that announce other addresses: `{ "10.0.0.1:6379": "west.example:7001" }`.'),
};
const isTls = (urls: readonly string[]) => urls.every((text) => !/^(redis|unix):/.test(text));
const WANTS_TLS = { path: ['tls'], error: 'is only for urls that begin with rediss://' };
/** The password would not be of the file. */
const hasPassword = (text: string) => urlProblem(text) === undefined && parseRedisUrl(text).password !== undefined;

const endpoint = z.union(
  [
    z
      .strictObject({
        url: url.describe(
          'One server: `redis://user:password@host:port/db`, `rediss://…` with TLS, or `unix://…`. One of `url`, `cluster` and `sentinel` is needed.',
        ),
        ...access,
      })
      .refine(({ url, tls }) => tls === undefined || isTls([url]), WANTS_TLS)
      .refine(({ url, passwordFile }) => passwordFile === undefined || !hasPassword(url), TWO_PASSWORDS),
    z
      .strictObject({
        cluster: z
          .array(url.refine(isDatabase0, 'selects a database; a Cluster has database 0 alone, so leave it out'))
          .min(1)
          .describe(
            'A Cluster: the urls of some of its nodes. User, password and protocol of the first serve for all nodes.',
          ),
        ...access,
        ...mapped,
      })
      .refine(({ cluster, tls }) => tls === undefined || isTls(cluster), WANTS_TLS)
      .refine(({ cluster, passwordFile }) => passwordFile === undefined || !cluster.some(hasPassword), TWO_PASSWORDS),
    z
      .strictObject({
        sentinel: z
          .strictObject({
            name: z.string().min(1).describe('How the Sentinels name the master.'),
            urls: z
              .array(
                url.refine(
                  saysNoMore,
                  'is of a Sentinel: host, port, its user and password; db is written beside urls',
                ),
              )
              .min(1)
              .describe(
                "The Sentinels. User and password in these urls are the Sentinels' own; `rediss://` is for the master, too.",
              ),
            username: z.string().optional().describe('The user of the master.'),
            password: z.string().optional().describe('The password of the master.'),
            db: z.number().int().min(0).optional().describe('The database of the master. Absent: 0.'),
          })
          .describe('A master that Sentinels name.'),
        ...access,
        ...mapped,
      })
      .refine(({ sentinel, tls }) => tls === undefined || isTls(sentinel.urls), WANTS_TLS)
      .refine(
        ({ sentinel, passwordFile }) => passwordFile === undefined || sentinel.password === undefined,
        TWO_PASSWORDS,
      ),
  ],
  { error: 'must be one of { url: redis://… }, { cluster: [urls] } or { sentinel: { name, urls } }' },
);

/** Told apart by its one field, so that what is wrong inside it is said of that place. */
const source = z.unknown().transform((value, context) => {
  const isMysql = typeof value === 'object' && value !== null && 'mysql' in value;
  const parsed = (isMysql ? mysqlSource : endpoint).safeParse(value);
  if (parsed.success) return parsed.data;
  for (const issue of parsed.error.issues) context.issues.push({ ...issue, input: value } as never);
  return z.NEVER;
});

const link = z.strictObject({
  name: z
    .string()
    .regex(LINK_NAME, `must be 1 to ${MAX_LINK_LENGTH} letters, digits, dots, _ or -`)
    .describe('What records call the link.'),
  source: source.describe(
    'The side that is right: a Redis, written as `target`; or `{ mysql: … }`, a database of which the target caches rows.',
  ),
  target: endpoint.describe('The Redis that is repaired.'),
  mode: z
    .enum(['invalidate', 'refresh'])
    .optional()
    .describe('Only with a database: a cached value that its row does not say is deleted (the default), or replaced.'),
  mappings: mappings
    .optional()
    .describe(
      'Only with a database, and needed there: which keys cache which rows. The first one that takes a key has it.',
    ),
  /** Bounded, so that prefix and key fit into Temporal's 1,000 bytes. */
  workflowIdPrefix: z
    .string()
    .regex(/^[\x21-\x7e]{0,64}$/, 'must be at most 64 printable ASCII characters without spaces')
    .default('')
    .describe(
      'Stands before every workflow ID of the link. With several links each needs one, and none may begin as another.',
    ),
  budget: z
    .strictObject({
      opsPerSecond: z
        .number()
        .int()
        .positive()
        .default(5000)
        .describe(
          "Operations a second, as the target's `INFO commandstats` counts them, those inside scripts included.",
        ),
      bytesPerSecond: size.prefault('50MB').describe('Bytes a second to the target and from it.'),
    })
    .prefault({})
    .describe('What repair may cost the target, all workers together.'),
  settle: duration
    .optional()
    .describe(
      'How long a write may be on its way. What may still change is compared after it. Default: 1s; with a database 2s.',
    ),
  verify: z
    .enum(['auto', 'always', 'never'])
    .default(DEFAULT_POLICY.verify)
    .describe(
      'When a key is looked at once more, `settle` later. `auto`: after writes of unknown outcome and commands that are not idempotent.',
    ),
  retry: z
    .strictObject({
      maximumAttempts: z
        .number()
        .int()
        .min(1)
        .max(1000)
        .default(DEFAULT_POLICY.retry.maximumAttempts)
        .describe('Attempts, the first one included, before the key is escalated.'),
      initialInterval: pause(1)
        .default(DEFAULT_POLICY.retry.initialIntervalMs)
        .describe('The first pause between two attempts.'),
      backoffCoefficient: z
        .number()
        .min(1)
        .max(100)
        .default(DEFAULT_POLICY.retry.backoffCoefficient)
        .describe('Each pause is so many times the one before.'),
      maximumInterval: pause(1).default(DEFAULT_POLICY.retry.maximumIntervalMs).describe('The longest pause.'),
    })
    .prefault({})
    .describe('How often a key is tried.'),
  escalation: z
    .strictObject({
      retryEvery: pause(1_000)
        .default(DEFAULT_POLICY.escalation.retryEveryMs)
        .describe('An escalated key is tried so often by itself.'),
      webhook: webhookOptions(duration).optional().describe('Who is told of escalations and outages.'),
    })
    .prefault({})
    .describe('What happens with a key that was given up on for now.'),
  /** So that no value ever holds a Redis for long. */
  largeValues: z
    .strictObject({
      elements: z
        .number()
        .int()
        .min(1)
        .max(LARGE_VALUES.elements)
        .default(LARGE_VALUES.elements)
        .describe('Elements: members, fields, entries.'),
      bytes: z
        .number()
        .int()
        .min(1024)
        .max(LARGE_VALUES.bytes)
        .default(LARGE_VALUES.bytes)
        .describe('Bytes of the value.'),
    })
    .prefault({})
    .describe('A value with more is compared and repaired in parts. Can be lowered, not raised.'),
  expiryTolerance: duration
    .default(100)
    .describe('Expiries that differ by so little are equal. The measured offset of the two clocks is added.'),
  /** A source that was emptied by accident must not empty the target. */
  deleteGuard: z
    .strictObject({
      minimumRatio: z.number().min(0).max(1).default(0.5).describe('So many times the keys of the target are too few.'),
      minimumGap: z.number().int().min(1).default(10).describe('And the target has at least so many keys more.'),
    })
    .prefault({})
    .describe('Nothing is deleted on the target while the source has too few keys. Both settings have to hold.'),
});

/** At the second look no reader that had read the old row may hold a lease any more. */
function withSettle(config: z.output<typeof link>) {
  const usual = 'mysql' in config.source ? CACHE_LEASE_MS : DEFAULT_POLICY.settleMs;
  return { ...config, settle: config.settle ?? usual };
}

const kafkaFields = z.strictObject({
  brokers: z
    .array(z.string().regex(/^\S+:\d+$/, 'must be host:port'))
    .min(1)
    .describe('Some of the brokers, `host:port` each.'),
  topic: z.string().min(1).default('keymend.failed-writes').describe('Where records of failed writes come from.'),
  deadLetterTopic: z.string().min(1).default('keymend.failed-writes.dlq').describe('Where dead letters go.'),
  groupId: z
    .string()
    .min(1)
    .optional()
    .describe('The consumer group of the bridges, one for each topic. Default: `keymend-bridge.` and the topic.'),
  ssl: z
    .union([z.boolean(), tlsFiles], { error: 'must be true, false or { caFile, certFile, keyFile, serverName }' })
    .default(false)
    .describe('Connect by TLS: `true`, or files in PEM, read at each connect, so they may be replaced.'),
  sasl: kafkaLogin.optional().describe('Log in to the brokers.'),
});
const kafka = kafkaFields.transform(({ groupId, ...rest }) => ({
  ...rest,
  groupId: groupId ?? `keymend-bridge.${rest.topic}`,
}));

const letterRule = z.strictObject({
  match: z
    .strictObject({
      reason: z
        .enum(DEAD_LETTER_REASONS, { error: `must be one of ${DEAD_LETTER_REASONS.join(', ')}` })
        .optional()
        .describe('Letters of this `dlq.reason`.'),
      errorType: z.string().min(1).optional().describe('Letters of this error type.'),
      link: z.string().min(1).optional().describe('Letters of this link.'),
      olderThan: duration.optional().describe('Letters whose write failed, or that were redriven last, so long ago.'),
    })
    .refine((match) => Object.values(match).some((part) => part !== undefined), 'must say which letters')
    .describe('Which letters: all that is given has to hold, and something has to be.'),
  do: z
    .enum(['redrive', 'discard', 'keep'], { error: 'must be redrive, discard or keep' })
    .describe('Try their keys again, give them up, or leave them to a person.'),
  after: pause(60_000)
    .default(600_000)
    .describe('So long after the failure a letter is touched, and so often the rule looks.'),
});

/** docs/configuration.md is made of it. */
export const schema = z
  .strictObject({
    temporal: z
      .strictObject({
        taskQueue: z.string().min(1).default('keymend').describe('The task queue of the workers.'),
        address: z
          .string()
          .min(1)
          .optional()
          .describe('`host:port`. Counts where neither `TEMPORAL_ADDRESS` nor a Temporal profile says otherwise.'),
        namespace: z
          .string()
          .min(1)
          .optional()
          .describe('Counts where neither `TEMPORAL_NAMESPACE` nor a Temporal profile says otherwise.'),
        codec: codec
          .optional()
          .describe('Payloads and texts of errors are encrypted before they go to Temporal. Absent: they are not.'),
        deployment: z
          .strictObject({
            name: z
              .string()
              .regex(/^[A-Za-z0-9_-]{1,100}$/, 'must be 1 to 100 letters, digits, _ or -')
              .describe('The name of the deployment in Temporal.'),
            buildId: z
              .string()
              .regex(/^[A-Za-z0-9._+-]{1,100}$/, 'must be 1 to 100 letters, digits, dots, _, + or -')
              .optional()
              .describe('The release of this worker. Default: the version of keymend.'),
          })
          .optional()
          .describe(
            'Worker Versioning: Temporal decides which release of the workers gets the work. Absent: whichever worker asks.',
          ),
      })
      .prefault({})
      .describe('Where Temporal is, and how its workers are named.'),
    intake: z.enum(['kafka', 'redis-stream']).default('kafka').describe('Where the bridge gets failed writes from.'),
    kafka: kafka.optional().describe('Needed with `intake: kafka`.'),
    stream: z
      .strictObject({
        key: z.string().min(1).default(OUTBOX_KEY).describe('The key of the outbox.'),
        groupId: z
          .string()
          .min(1)
          .default('keymend-bridge')
          .describe('The consumer group of the bridges with `intake: redis-stream`.'),
        deadLetterKey: z
          .string()
          .min(1)
          .default('keymend:outbox:dlq')
          .describe('The stream of dead letters with `intake: redis-stream`.'),
        maxEntries: z
          .number()
          .int()
          .min(1)
          .default(100_000)
          .describe('Entries that the dead-letter stream may have. It is never trimmed: a full one takes no more.'),
      })
      .prefault({})
      .describe('The outbox on the source of each link.'),
    dlq: z
      .strictObject({
        rules: z
          .array(letterRule)
          .max(50)
          .default([])
          .describe('What is done with dead letters. Of several rules that fit a letter the first counts.'),
      })
      .prefault({})
      .describe('Dead letters.'),
    surge: z
      .strictObject({
        enter: z
          .number()
          .int()
          .min(1)
          .default(10_000)
          .describe('From so many waiting records on, keys travel in batches.'),
        leave: z.number().int().min(0).default(1_000).describe('Until fewer than so many wait. At most `enter`.'),
        age: pause(1_000).default(60_000).describe('Also when the oldest record that waits is older than this.'),
      })
      .prefault({})
      .describe('When keys travel in batches.'),
    http: httpConfig
      .optional()
      .describe('Where a process answers `/livez`, `/readyz` and `/metrics`. Absent: nowhere.'),
    tracing: tracingConfig
      .optional()
      .describe('Spans, and how keys stand in spans and in the log. Absent: no spans, and keys as they are.'),
    links: z.array(link.transform(withSettle)).min(1).describe('The pairs of source and target.'),
  })
  .superRefine((config, context) => {
    if (config.surge.leave > config.surge.enter) {
      context.addIssue({ code: 'custom', path: ['surge', 'leave'], message: 'is more than surge.enter' });
    }
    if (config.intake === 'kafka' && config.kafka === undefined) {
      const message = 'is missing; give { brokers: [host:port] }, or write intake: redis-stream to do without Kafka';
      context.addIssue({ code: 'custom', path: ['kafka'], message });
    }
    if (config.stream.key === config.stream.deadLetterKey) {
      context.addIssue({ code: 'custom', path: ['stream', 'deadLetterKey'], message: 'is the same as stream.key' });
    }
    config.dlq.rules.forEach(({ match: { link } }, index) => {
      if (link === undefined || config.links.some(({ name }) => name === link)) return;
      const message = `"${link}" is no link of this configuration`;
      context.addIssue({ code: 'custom', path: ['dlq', 'rules', index, 'match', 'link'], message });
    });
    config.links.forEach((link, index) => {
      const { name, source, target, workflowIdPrefix } = link;
      const issue = (field: string, message: string) =>
        context.addIssue({ code: 'custom', path: ['links', index, field], message });
      for (const [field, message] of cacheProblems(link, config.intake)) issue(field, message);
      if (JSON.stringify(source) === JSON.stringify(target)) issue('target', 'is the same Redis as the source');
      for (const earlier of config.links.slice(0, index)) {
        if (earlier.name === name) issue('name', `"${name}" is used twice`);
        const [one, other] = [earlier.workflowIdPrefix, workflowIdPrefix];
        if (one.startsWith(other) || other.startsWith(one)) {
          const message = `does not tell "${name}" from "${earlier.name}": keys of both could share a workflow; `;
          issue('workflowIdPrefix', `${message}give each link one that is not the beginning of another`);
        }
      }
    });
  });

type Parsed = z.output<typeof schema>;
export type LinkConfig = Parsed['links'][number];
/** A Redis. */
export type Endpoint = LinkConfig['target'];
export type { Mapping, MysqlSource } from './config-mysql.js';
export type CodecConfig = NonNullable<Parsed['temporal']['codec']>;
export type KafkaConfig = z.output<typeof kafka>;
export type StreamConfig = Parsed['stream'];
export type WebhookConfig = NonNullable<LinkConfig['escalation']['webhook']>;
export type SurgeConfig = Parsed['surge'];
export type LetterRule = Parsed['dlq']['rules'][number];

type AnyConfig<Intake, Kafka> = Readonly<Omit<Parsed, 'intake' | 'kafka'> & { intake: Intake; kafka: Kafka }>;
export type KafkaIntakeConfig = AnyConfig<'kafka', KafkaConfig>;
/** Kafka is not used, whatever is said of it. */
export type StreamIntakeConfig = AnyConfig<'redis-stream', unknown>;
/** `keymend.yaml` with every default filled in and every time in milliseconds. */
export type Config = KafkaIntakeConfig | StreamIntakeConfig;

/**
 * Checks a configuration given as YAML text.
 * @param text the YAML; `${NAME}` inside a value is replaced from `environment`
 * @param where what to call the text in an error, usually its path
 * @throws ConfigError naming every problem with its place
 */
export function parseConfig(text: string, where: string, environment: NodeJS.ProcessEnv): Config {
  let raw: unknown;
  try {
    raw = parseYaml(text);
  } catch (error) {
    const problem = error instanceof YAMLParseError ? error.message.split('\n')[0]!.replace(/:$/, '') : String(error);
    throw new ConfigError(`${where}: not valid YAML: ${problem}`, { cause: error });
  }
  const result = schema.safeParse(substitute(raw, where, environment) ?? {});
  if (!result.success) throw new ConfigError(`${where}: ${result.error.issues.map(describeIssue).join('; ')}`);
  // What the type says of intake and kafka was checked above.
  return deepFreeze(result.data as Config);
}

/**
 * Finds and checks the configuration: `explicit`, else `KEYMEND_CONFIG`, else `keymend.yaml` here,
 * else the one that `keymend stack up` wrote.
 * @throws ConfigError
 */
export function loadConfig(explicit: string | undefined, environment: NodeJS.ProcessEnv): Config {
  const named = explicit ?? environment.KEYMEND_CONFIG;
  const path = named ?? ['keymend.yaml', '.keymend/keymend.yaml'].find((candidate) => existsSync(candidate));
  if (path === undefined) {
    throw new ConfigError(
      'no configuration: there is no keymend.yaml here; name one with --config or KEYMEND_CONFIG, or run `npx keymend stack up`',
    );
  }
  let text: string;
  try {
    text = readFileSync(resolve(path), 'utf8');
  } catch (error) {
    throw new ConfigError(`${path}: cannot be read (${(error as NodeJS.ErrnoException).code}); check the path`, {
      cause: error,
    });
  }
  return parseConfig(text, path, environment);
}

/** The part of a link's configuration that travels with its workflows. */
export function linkPolicy(config: LinkConfig): LinkPolicy {
  return {
    settleMs: config.settle,
    verify: config.verify,
    retry: {
      maximumAttempts: config.retry.maximumAttempts,
      initialIntervalMs: config.retry.initialInterval,
      backoffCoefficient: config.retry.backoffCoefficient,
      maximumIntervalMs: config.retry.maximumInterval,
    },
    escalation: { retryEveryMs: config.escalation.retryEvery },
    ...('mysql' in config.source && { looksTwice: true }),
  };
}

/**
 * Replaces `${NAME}` in every string of the parsed YAML, so that a value can't inject YAML of its
 * own.
 */
function substitute(value: unknown, where: string, environment: NodeJS.ProcessEnv): unknown {
  if (typeof value === 'string') {
    return value.replace(/\$\{([A-Za-z_][A-Za-z0-9_]*)\}/g, (_match, name: string) => {
      const found = environment[name] ?? fromFile(name, where, environment);
      if (found === undefined) throw new ConfigError(`${where}: the environment variable ${name} is not set`);
      return found;
    });
  }
  if (Array.isArray(value)) return value.map((item) => substitute(item, where, environment));
  if (value !== null && typeof value === 'object') {
    return Object.fromEntries(Object.entries(value).map(([key, item]) => [key, substitute(item, where, environment)]));
  }
  return value;
}

/** As containers get secrets: `NAME_FILE` says which file has it. */
function fromFile(name: string, where: string, environment: NodeJS.ProcessEnv): string | undefined {
  const path = environment[`${name}_FILE`];
  if (path === undefined) return undefined;
  try {
    return readSecret(path);
  } catch (error) {
    throw new ConfigError(`${where}: the environment variable ${name}_FILE: ${(error as Error).message}`, {
      cause: error,
    });
  }
}

function describeIssue(issue: z.core.$ZodIssue): string {
  const place = issue.path
    .map((part) => (typeof part === 'number' ? `[${part}]` : `.${String(part)}`))
    .join('')
    .replace(/^\./, '');
  if (issue.code === 'unrecognized_keys') {
    return issue.keys
      .map((key) => (place ? `${place}.${key}` : key))
      .map((path) => `unknown key "${path}"${didYouMean(path, keysOf(schema))}`)
      .join('; ');
  }
  const meant = issue.code === 'invalid_union' ? optionMeant(issue) : undefined;
  if (meant !== undefined) return meant.map(describeIssue).join('; ');
  const missing = issue.code === 'invalid_type' && issue.message.endsWith('received undefined');
  return `${place || 'the file'}: ${missing ? 'is missing' : issue.message}`;
}

/**
 * What is wrong with the one of several forms that has the right shape; undefined: none has, or
 * several have.
 */
function optionMeant({ errors, path }: z.core.$ZodIssueInvalidUnion): z.core.$ZodIssue[] | undefined {
  const isOther = ({ code, path, message }: z.core.$ZodIssue) =>
    path.length === 0
      ? code === 'invalid_type' || code === 'invalid_value'
      : path.length === 1 && code === 'invalid_type' && message.endsWith('received undefined');
  const [meant, ...others] = errors.filter((issues) => !issues.some(isOther));
  if (others.length > 0) return undefined;
  return meant?.map((issue) => ({ ...issue, path: [...path, ...issue.path] }));
}

/** The paths of all keys that a part of the schema knows, as the file's errors write them. */
function* keysOf(type: z.core.$ZodType, place = ''): Generator<string> {
  const { def } = (type as z.core.$ZodTypes)._zod;
  if ('shape' in def) {
    for (const [key, part] of Object.entries(def.shape)) {
      const path = place ? `${place}.${key}` : key;
      yield path;
      yield* keysOf(part, path);
    }
  } else if ('element' in def) yield* keysOf(def.element, `${place}[]`);
  else if ('options' in def) for (const option of def.options) yield* keysOf(option, place);
  else if ('innerType' in def) yield* keysOf(def.innerType, place);
  // What is written, and then made something else of.
  else if ('in' in def) yield* keysOf(def.in, place);
}

function deepFreeze<T>(value: T): T {
  if (value !== null && typeof value === 'object') {
    for (const item of Object.values(value)) deepFreeze(item);
    Object.freeze(value);
  }
  return value;
}
