/**
 * What others write, read: each parser is given valid inputs that are changed byte by byte. In a
 * full run a million for each.
 */

import { describe, expect, test } from 'vitest';
import { stringify } from 'yaml';
import { type Part, partsOf } from '../../src/bridge/group.js';
import { workflowIdFor } from '../../src/bridge/workflow-id.js';
import { rateOf } from '../../src/cli/bulk/run.js';
import { VerbError } from '../../src/cli/context.js';
import { escalatedQuery } from '../../src/cli/escalated/query.js';
import { keyWorkflow } from '../../src/cli/key-workflow.js';
import { filterOf } from '../../src/cli/letter-filter.js';
import { viewOf } from '../../src/cli/letters.js';
import { printable } from '../../src/cli/printable.js';
import { ConfigError, parseConfig } from '../../src/config.js';
import { isMeant } from '../../src/dead-letters/filter.js';
import { headerText, letterOf } from '../../src/dead-letters/letter.js';
import { deadLetterOf, lessOf } from '../../src/events/dead-letter.js';
import { decodeFailedWrite } from '../../src/events/failed-write-codec.js';
import { prefixOf } from '../../src/events/key-prefix.js';
import { KeyPattern } from '../../src/mapping/key-pattern.js';
import { Statement } from '../../src/mapping/statement.js';
import { deadLetterFields, entryRecord, intentUntil } from '../../src/outbox/entry.js';
import { slotOf } from '../../src/redis/slots.js';
import { parseRedisUrl, urlProblem } from '../../src/redis-url.js';
import { parseReport } from '../../src/sweep/report.js';
import { spanContextOf } from '../../src/traceparent.js';
import { isPrivate } from '../../src/webhook/address.js';
import { signatureOf, verifyWebhook } from '../../src/webhook/signature.js';
import { fuzz, refusal } from './fuzz.js';
import { CANARY } from './mutations.js';

const HOUR = 3_600_000;
const json = (...values: unknown[]) => values.map((value) => Buffer.from(JSON.stringify(value)));

const RECORD = {
  specVersion: 1,
  id: '01JD2Y4Q9Z8V7W6X5T4R3S2P1N',
  link: 'east-to-west',
  key: `user:${CANARY}`,
  encoding: 'utf8',
  command: 'SADD',
  members: [CANARY, 'b'],
  outcome: 'unknown',
  failedAt: '2026-11-20T23:00:00.000Z',
  error: { code: 'READONLY', message: CANARY },
  origin: 'orders-api',
};
const { specVersion, id, link, key, failedAt } = RECORD;
const RECORDS = json(
  RECORD,
  { specVersion, id, link, key, failedAt, value: CANARY },
  { ...RECORD, key: 'AAECAw==', members: ['AP8=', 'gA=='], encoding: 'base64' },
  { ...RECORD, command: null, members: null, error: { code: null, message: null }, failedAt: '2026-11-20T23:00+01:00' },
  { ...RECORD, specVersion: 2 },
);

test('records of failed writes', { timeout: HOUR }, () =>
  fuzz(RECORDS, (value) => {
    const decoded = decodeFailedWrite(value);
    if (!decoded.ok) return decoded.problem.message;
    expect(decoded.key.length).toBeGreaterThanOrEqual(0);
    return undefined;
  }),
);

const CONFIGS = [
  {
    kafka: {
      brokers: ['127.0.0.1:9092'],
      sasl: { mechanism: 'plain', username: 'bridge', password: CANARY },
    },
    http: { host: '0.0.0.0', port: 9464, token: `token-of-${CANARY}-${CANARY}` },
    links: [
      {
        name: 'east-to-west',
        source: { url: `redis://app:${CANARY}@127.0.0.1:6379` },
        target: { cluster: [`rediss://:${CANARY}@10.0.0.1:6379/0`], addressMap: { '10.0.0.1:6379': 'west:7001' } },
        escalation: { webhook: { url: `https://hooks.example/${CANARY}`, secret: CANARY, format: 'slack' } },
      },
    ],
  },
  {
    intake: 'redis-stream',
    links: [
      {
        name: 'shop',
        source: { mysql: { url: `mysql://app:${CANARY}@127.0.0.1:3306/shop` } },
        target: { sentinel: { name: 'm', urls: [`redis://:${CANARY}@127.0.0.1:26379`], password: CANARY, db: 0 } },
      },
    ],
  },
];
const TEXTS = CONFIGS.flatMap((config) => [
  Buffer.from(stringify(config)),
  Buffer.from(JSON.stringify(config)),
  Buffer.from(stringify(config, { defaultStringType: 'QUOTE_SINGLE' })),
]);

test('configuration', { timeout: HOUR }, () => {
  const environment = { A: CANARY, B: '' };
  fuzz(
    TEXTS,
    (text) => refusal(ConfigError, () => parseConfig(text.toString('utf8'), 'keymend.yaml', environment)),
    20,
  );
});

test('urls', { timeout: HOUR }, () => {
  const urls = [
    `redis://app:${CANARY}@10.0.0.1:6379/3?family=4`,
    `rediss://:${CANARY}%23@[::1]:6379/`,
    `unix:///run/redis.sock?db=3&password=${CANARY}`,
  ];
  fuzz(
    urls.map((url) => Buffer.from(url)),
    (text) => {
      const problem = urlProblem(text.toString('utf8'));
      if (problem === undefined) parseRedisUrl(text.toString('utf8'));
      return problem;
    },
  );
});

describe('reports', () => {
  const report = {
    format: 'keymend-sweep',
    version: 1,
    link: 'east-to-west',
    outcome: 'divergent',
    differing: { value: 3, expiry: 1 },
    listed: [
      { key: CANARY, encoding: 'utf8', difference: 'value' },
      { key: 'AAECAw==', encoding: 'base64', difference: 'expiry' },
    ],
  };
  test('of a sweep', { timeout: HOUR }, () =>
    fuzz(json(report), (text) => refusal(Error, () => parseReport(text.toString('utf8'), 'report.json'))),
  );
});

describe('entries and dead letters', () => {
  const links = new Map(parseConfig(stringify(CONFIGS[0]), 'keymend.yaml', {}).links.map((each) => [each.name, each]));
  const ENTRY = {
    id: '1764000000000-1',
    key: 'user:42',
    value: RECORDS[0]!.toString(),
    traceparent: `00-${'ab'.repeat(16)}-${'cd'.repeat(8)}-01`,
    'dlq.reason': 'attempts-exhausted',
    'dlq.redrive.count': '3',
    'dlq.redrive.last_at': '2026-11-20T23:00:00.000Z',
    'dlq.error.type': 'TargetReadOnly',
    intent: '5000',
  };
  const SEPARATOR = '\x1f';
  const entry = Buffer.from(Object.entries(ENTRY).flat().slice(1).join(SEPARATOR));

  test('of a stream', { timeout: HOUR }, () =>
    fuzz([entry], (bytes) => {
      const [id = '', ...parts] = bytes.toString('latin1').split(SEPARATOR);
      const fields = parts.slice(parts.length % 2).map((part) => Buffer.from(part, 'latin1'));
      const record = entryRecord('keymend:outbox', { id, fields });
      intentUntil({ id, fields });
      spanContextOf(headerText(record, 'traceparent'));
      const [{ items }] = [...partsOf([record], links)] as [Part];
      for (const writtenAt of [null, Number(id.split('-')[0])]) {
        const letter = letterOf('0', record, writtenAt);
        viewOf(letter);
        isMeant(letter, { olderThanMs: 1, prefix: 'user:' }, Date.now());
      }
      const [item] = items;
      if (item === undefined || item.kind === 'key') return undefined;
      const letter = deadLetterOf(record, item.failure);
      lessOf(letter);
      const again = entryRecord('keymend:outbox:dlq', {
        id,
        fields: deadLetterFields(letter).map((part) => Buffer.from(part)),
      });
      expect(headerText(again, 'dlq.reason')).toBe(item.failure.reason);
      const message = headerText(again, 'dlq.error.message')!;
      // It names the link, which is no value.
      return item.failure.event === undefined ? message : message.replace(JSON.stringify(item.failure.event.link), '');
    }),
  );
});

test('keys, and patterns of keys', { timeout: HOUR }, () => {
  const patterns = ['user:{id:int}', 'a:{b}:{c}:{d}', '{x}'].map((text) => KeyPattern.parse(text) as KeyPattern);
  fuzz([Buffer.from(`user:42:${CANARY}`), Buffer.from('a:b:c:d'), Buffer.from(':'.repeat(500))], (key) => {
    for (const pattern of patterns) pattern.match(key);
    const id = workflowIdFor('east/', key);
    expect(id.startsWith('east/') && [...id].length <= 255).toBe(true);
    prefixOf(key);
    slotOf(key);
    return /[\p{Cc}\p{Zl}\p{Zp}]/u.test(id) ? id : undefined;
  });
  const query = "SELECT `name`, \"x\" FROM users WHERE id = :id -- and :so\nAND t = 'it''s :no' /* ? */";
  fuzz([Buffer.from(query), Buffer.from('user:{id:int}:{{x}}{name}')], (text) => {
    const statement = Statement.parse(text.toString(), patterns[0]!.parts);
    if (typeof statement !== 'string') statement.sqlFor([{ name: 'id', kind: 'int', bytes: Buffer.from('7') }]);
    const pattern = KeyPattern.parse(text.toString());
    if (typeof pattern !== 'string') pattern.match(text);
    return undefined;
  });
});

test('what is typed', { timeout: HOUR }, () => {
  const config = parseConfig(stringify(CONFIGS[0]), 'keymend.yaml', {});
  const typed = ['10m', '2026-11-20T23:00:00Z', '250k', '1.5', 'user:42', 'AAEC', '999999999d'];
  fuzz(
    typed.map((text) => Buffer.from(text)),
    (bytes) => {
      const text = bytes.toString();
      const readers = [
        () => filterOf({ olderThan: text }),
        () => filterOf({ since: text, until: text, prefix: text }),
        () => keyWorkflow(config, text, { encoding: 'base64' }),
        () => keyWorkflow(config, text, { encoding: 'utf8' }),
        () => escalatedQuery(config, { olderThan: text }),
        () => rateOf(text),
      ];
      // What somebody has typed may be said again; a terminal is shown it by `printable`.
      for (const read of readers) {
        const refused = refusal(VerbError, read);
        if (refused !== undefined) expect(printable(refused.message)).not.toMatch(/\p{Cc}/u);
      }
      return undefined;
    },
  );
});

test('addresses and signatures of a webhook', { timeout: HOUR }, () =>
  fuzz([Buffer.from('::ffff:10.0.0.1%eth0'), Buffer.from('2001:db8::1'), Buffer.from('10.0.0.1')], (address) => {
    isPrivate(address.toString());
    const header = signatureOf(address, 'secret', 1_000);
    expect(verifyWebhook(address, header, 'secret', { nowMs: 1_000 })).toBe(true);
    expect(verifyWebhook('body', address.toString(), 'secret', { nowMs: 1_000 })).toBe(false);
    return undefined;
  }),
);
