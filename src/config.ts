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
import { cacheProblems, mappings, mysqlSource } from './config-mysql.js';
import { duration, pause, size } from './config-values.js';
import { CACHE_LEASE_MS, LARGE_VALUES, MAX_LINK_LENGTH, OUTBOX_KEY } from './defaults.js';
import { didYouMean } from './did-you-mean.js';
import { httpConfig } from './http-config.js';
import { parseRedisUrl, urlProblem } from './redis-url.js';
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

const endpoint = z.union(
  [
    z.strictObject({ url }),
    z.strictObject({
      cluster: z
        .array(url.refine(isDatabase0, 'selects a database; a Cluster has database 0 alone, so leave it out'))
        .min(1),
    }),
    z.strictObject({
      sentinel: z.strictObject({
        name: z.string().min(1),
        /** Of the Sentinels. User and password in them are the Sentinels' own. */
        urls: z
          .array(
            url.refine(saysNoMore, 'is of a Sentinel: host, port, its user and password; db is written beside urls'),
          )
          .min(1),
        /** These are the master's. */
        username: z.string().optional(),
        password: z.string().optional(),
        db: z.number().int().min(0).optional(),
      }),
    }),
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

const LINK_NAME = new RegExp(`^[A-Za-z0-9][A-Za-z0-9._-]{0,${MAX_LINK_LENGTH - 1}}$`);

const link = z.strictObject({
  name: z.string().regex(LINK_NAME, `must be 1 to ${MAX_LINK_LENGTH} letters, digits, dots, _ or -`),
  source,
  target: endpoint,
  /** Of a source that is a database: what becomes of a cached value that its row does not say. */
  mode: z.enum(['invalidate', 'refresh']).optional(),
  /** Which keys cache which rows; the first one that takes a key has it. */
  mappings: mappings.optional(),
  /**
   * Put in front of every workflow ID of the link. Bounded, so that prefix and key fit into
   * Temporal's 1,000 bytes.
   */
  workflowIdPrefix: z
    .string()
    .regex(/^[\x21-\x7e]{0,64}$/, 'must be at most 64 printable ASCII characters without spaces')
    .default(''),
  /** What repair may cost the target each second, all workers together. */
  budget: z
    .strictObject({
      opsPerSecond: z.number().int().positive().default(5000),
      /** To it and from it. */
      bytesPerSecond: size.prefault('50MB'),
    })
    .prefault({}),
  settle: duration.optional(),
  verify: z.enum(['auto', 'always', 'never']).default(DEFAULT_POLICY.verify),
  retry: z
    .strictObject({
      maximumAttempts: z.number().int().min(1).max(1000).default(DEFAULT_POLICY.retry.maximumAttempts),
      initialInterval: pause(1).default(DEFAULT_POLICY.retry.initialIntervalMs),
      backoffCoefficient: z.number().min(1).max(100).default(DEFAULT_POLICY.retry.backoffCoefficient),
      maximumInterval: pause(1).default(DEFAULT_POLICY.retry.maximumIntervalMs),
    })
    .prefault({}),
  escalation: z
    .strictObject({
      retryEvery: pause(1_000).default(DEFAULT_POLICY.escalation.retryEveryMs),
      webhook: webhookOptions(duration).optional(),
    })
    .prefault({}),
  /**
   * A value with more elements or bytes is compared and repaired in chunks, so that it never holds
   * a Redis for long: these limits can be lowered, not raised.
   */
  largeValues: z
    .strictObject({
      elements: z.number().int().min(1).max(LARGE_VALUES.elements).default(LARGE_VALUES.elements),
      bytes: z.number().int().min(1024).max(LARGE_VALUES.bytes).default(LARGE_VALUES.bytes),
    })
    .prefault({}),
  /** A difference of expiry up to this many ms is no difference. */
  expiryTolerance: duration.default(100),
  /**
   * Nothing is deleted on the target while the source has fewer than `minimumRatio` times the
   * target's keys and the target has at least `minimumGap` keys more: a source that was emptied by
   * accident must not empty the target.
   */
  deleteGuard: z
    .strictObject({
      minimumRatio: z.number().min(0).max(1).default(0.5),
      minimumGap: z.number().int().min(1).default(10),
    })
    .prefault({}),
});

/** At the second look no reader that had read the old row may hold a lease any more. */
function withSettle(config: z.output<typeof link>) {
  const usual = 'mysql' in config.source ? CACHE_LEASE_MS : DEFAULT_POLICY.settleMs;
  return { ...config, settle: config.settle ?? usual };
}

const kafkaFields = z.strictObject({
  brokers: z.array(z.string().regex(/^\S+:\d+$/, 'must be host:port')).min(1),
  topic: z.string().min(1).default('keymend.failed-writes'),
  deadLetterTopic: z.string().min(1).default('keymend.failed-writes.dlq'),
  /** By default one for each topic: `keymend-bridge.<topic>`. */
  groupId: z.string().min(1).optional(),
  ssl: z.boolean().default(false),
  sasl: z
    .strictObject({
      mechanism: z.enum(['plain', 'scram-sha-256', 'scram-sha-512']),
      username: z.string(),
      password: z.string(),
    })
    .optional(),
});
const kafka = kafkaFields.transform(({ groupId, ...rest }) => ({
  ...rest,
  groupId: groupId ?? `keymend-bridge.${rest.topic}`,
}));

/** What is done with dead letters. Of several rules that fit a letter the first counts. */
const letterRule = z.strictObject({
  match: z
    .strictObject({
      reason: z.enum(DEAD_LETTER_REASONS, { error: `must be one of ${DEAD_LETTER_REASONS.join(', ')}` }).optional(),
      errorType: z.string().min(1).optional(),
      link: z.string().min(1).optional(),
      /** Since its write failed, or it was redriven last: one that came late is old at once. */
      olderThan: duration.optional(),
    })
    .refine((match) => Object.values(match).some((part) => part !== undefined), 'must say which letters'),
  do: z.enum(['redrive', 'discard', 'keep'], { error: 'must be redrive, discard or keep' }),
  /** So long after, and so often. */
  after: pause(60_000).default(600_000),
});

const schema = z
  .strictObject({
    temporal: z
      .strictObject({
        taskQueue: z.string().min(1).default('keymend'),
        /** Used when neither TEMPORAL_ADDRESS nor a Temporal profile says otherwise. */
        address: z.string().min(1).optional(),
        namespace: z.string().min(1).optional(),
        /**
         * Worker Versioning of Temporal: which release of the workers gets the work is decided
         * there. Absent: whichever worker asks.
         */
        deployment: z
          .strictObject({
            name: z.string().regex(/^[A-Za-z0-9_-]{1,100}$/, 'must be 1 to 100 letters, digits, _ or -'),
            /** Default: the version of keymend. */
            buildId: z
              .string()
              .regex(/^[A-Za-z0-9._+-]{1,100}$/, 'must be 1 to 100 letters, digits, dots, _, + or -')
              .optional(),
          })
          .optional(),
      })
      .prefault({}),
    /** Where the bridge gets failed writes from. */
    intake: z.enum(['kafka', 'redis-stream']).default('kafka'),
    kafka: kafka.optional(),
    /** The outbox on the source of each link, and what reads it. */
    stream: z
      .strictObject({
        key: z.string().min(1).default(OUTBOX_KEY),
        /** The consumer group of the bridge where the intake is redis-stream. */
        groupId: z.string().min(1).default('keymend-bridge'),
        deadLetterKey: z.string().min(1).default('keymend:outbox:dlq'),
        /**
         * Entries that the dead-letter stream may have. It is never trimmed: one that is full takes
         * no more.
         */
        maxEntries: z.number().int().min(1).default(100_000),
      })
      .prefault({}),
    dlq: z.strictObject({ rules: z.array(letterRule).max(50).default([]) }).prefault({}),
    /** When keys travel in batches, and when each has a workflow of its own again. */
    surge: z
      .strictObject({
        /** Records that wait. */
        enter: z.number().int().min(1).default(10_000),
        leave: z.number().int().min(0).default(1_000),
        /** Of the oldest record that waits. */
        age: pause(1_000).default(60_000),
      })
      .prefault({}),
    /** Absent: a process answers nobody. */
    http: httpConfig.optional(),
    links: z.array(link.transform(withSettle)).min(1),
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
      const found = environment[name];
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
  const missing = issue.code === 'invalid_type' && issue.message.endsWith('received undefined');
  return `${place || 'the file'}: ${missing ? 'is missing' : issue.message}`;
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
