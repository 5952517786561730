/** All of `keymend.yaml`, with what has to hold between its parts. */
import { z } from 'zod';
import { DEAD_LETTER_REASONS } from '../../workflows/dead-letter-reasons.js';
import { OUTBOX_KEY } from '../defaults.js';
import { codec } from './codec.js';
import { httpConfig } from './http.js';
import { link } from './link.js';
import { cacheProblems } from './mysql.js';
import { kafkaLogin, tlsFiles } from './tls.js';
import { tracingConfig } from './tracing.js';
import { duration, pause } from './values.js';

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
export const kafka = kafkaFields.transform(({ groupId, ...rest }) => ({
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
      olderThan: duration.optional().describe('Letters that have been there for so long.'),
    })
    .refine((match) => Object.values(match).some((part) => part !== undefined), 'must say which letters')
    .describe('Which letters: all that is given has to hold, and something has to be.'),
  do: z
    .enum(['redrive', 'discard', 'keep'], { error: 'must be redrive, discard or keep' })
    .describe('Try their keys again, give them up, or leave them to a person.'),
  after: pause(60_000)
    .default(600_000)
    .describe('A letter is touched when it has been there for so long, and so often the rule looks.'),
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
      .describe(
        'Spans, and how keys stand in spans, in the log and in messages of a webhook. Absent: no spans, and keys as they are.',
      ),
    links: z.array(link).min(1).describe('The pairs of source and target.'),
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
