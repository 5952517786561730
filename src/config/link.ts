/** `links[]` of `keymend.yaml`: a pair of source and target, and how it is repaired. */
import { z } from 'zod';
import { DEFAULT_POLICY } from '../../workflows/policy.js';
import { CACHE_LEASE_MS, LARGE_VALUES, LINK_NAME, MAX_LINK_LENGTH } from '../defaults.js';
import { endpoint } from './endpoint.js';
import { mappings, mysqlSource } from './mysql.js';
import { duration, pause, size } from './values.js';
import { webhookOptions } from './webhook.js';

/** Behind 2^31 ms a timer of Node ends at once. */
const AT_MOST_24_DAYS = [(value: number) => value <= 24 * 86_400_000, 'must be at most 24d'] as const;

/** Told apart by its one field, so that what is wrong inside it is said of that place. */
const source = z.unknown().transform((value, context) => {
  const isMysql = typeof value === 'object' && value !== null && 'mysql' in value;
  const parsed = (isMysql ? mysqlSource : endpoint).safeParse(value);
  if (parsed.success) return parsed.data;
  for (const issue of parsed.error.issues) context.issues.push({ ...issue, input: value } as never);
  return z.NEVER;
});

const fields = z.strictObject({
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
    .describe(
      'Only with a database: a cached value that is not what its row says is deleted (the default), or replaced by that.',
    ),
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
  workflowIdSecret: z
    .string()
    .min(32, 'must have at least 32 characters')
    .optional()
    .describe('Workflow IDs are an HMAC of the key by it, so that they do not show keys. Absent: they are the keys.'),
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
    .refine(...AT_MOST_24_DAYS)
    .optional()
    .describe(
      'How long a write may be on its way. What may still change is compared after it. At most 24d. Default: 1s; with a database 2s.',
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
        .refine(...AT_MOST_24_DAYS)
        .default(DEFAULT_POLICY.retry.initialIntervalMs)
        .describe('The first pause between two attempts. At most 24d.'),
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
      webhook: webhookOptions.optional().describe('Who is told of escalations and outages.'),
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
      minimumRatio: z
        .number()
        .min(0)
        .max(1)
        .default(0.5)
        .describe('The source has too few keys if it has less than this part of the keys of the target.'),
      minimumGap: z.number().int().min(1).default(10).describe('And the target has at least so many keys more.'),
    })
    .prefault({})
    .describe(
      'Nothing is deleted on the target, and no large collection cut down there, while the source has too few keys. Both settings have to hold.',
    ),
});

/** At the second look no reader that had read the old row may hold a lease any more. */
function withSettle(config: z.output<typeof fields>) {
  const usual = 'mysql' in config.source ? CACHE_LEASE_MS : DEFAULT_POLICY.settleMs;
  return { ...config, settle: config.settle ?? usual };
}

export const link = fields.transform(withSettle);
