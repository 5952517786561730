/**
 * `keymend.yaml`: read, checked and frozen once; everything else gets the parsed value passed in.
 * This is the only place of the product that looks at `KEYMEND_CONFIG` and at `${NAME}` variables.
 */
import { existsSync, readFileSync } from 'node:fs';
import { resolve } from 'node:path';
import type { z } from 'zod';
import type { LinkPolicy } from '../workflows/policy.js';
import { describeIssue } from './config/problems.js';
import { type kafka, schema } from './config/schema.js';
import { readYaml } from './config/yaml.js';
import { readSecret } from './secret-files.js';

/**
 * The configuration can't be used. The message is one line: the file, the place in it, what is
 * wrong.
 */
export class ConfigError extends Error {
  override readonly name = 'ConfigError';
}

type Parsed = z.output<typeof schema>;
export type LinkConfig = Parsed['links'][number];
/** A Redis. */
export type Endpoint = LinkConfig['target'];
export type { HttpConfig } from './config/http.js';
export type { Mapping, MysqlSource } from './config/mysql.js';
export type { TracingConfig } from './config/tracing.js';
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
  const read = readYaml(text);
  if ('problem' in read) throw new ConfigError(`${where}: not valid YAML: ${read.problem}`);
  const file = substitute(read.value, where, environment) ?? {};
  const result = schema.safeParse(file);
  if (!result.success) {
    const problems = result.error.issues.map((issue) => describeIssue(issue, file));
    throw new ConfigError(`${where}: ${oneLine(problems.join('; '))}`);
  }
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

/** Names in the file may be of any characters. */
function oneLine(text: string): string {
  return text.replace(/[\p{Cc}\p{Zl}\p{Zp}]+/gu, ' ');
}

function deepFreeze<T>(value: T): T {
  if (value !== null && typeof value === 'object') {
    for (const item of Object.values(value)) deepFreeze(item);
    Object.freeze(value);
  }
  return value;
}
