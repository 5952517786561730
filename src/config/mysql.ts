/** The part of `keymend.yaml` about a source that is a database: MySQL or MariaDB. */
import { z } from 'zod';
import { KeyPattern } from '../mapping/key-pattern.js';
import { Statement } from '../mapping/statement.js';
import { ESCAPES, parsedUrl } from '../redis-url.js';
import { secretFile, TWO_PASSWORDS, tlsFilesOfHost } from './tls.js';
import { pause } from './values.js';

/** Quotes nothing of it that may be a password. */
function urlProblem(text: string): string | undefined {
  if (!/^(mysql|mariadb):\/\//.test(text)) return 'must start with mysql:// or mariadb://';
  const parsed = parsedUrl(text);
  if (parsed === null) return `is no url: look at the port, and ${ESCAPES}`;
  if (parsed.hostname === '') return 'names no host';
  if (!/^\/[^/]+$/.test(parsed.pathname)) return `must name one database behind its last /; ${ESCAPES}`;
  // Options of the client, which could change what is read and how.
  if (parsed.search !== '' || parsed.hash !== '') return `has a ? or # that belongs to nothing; ${ESCAPES}`;
  return undefined;
}

const mysqlUrl = z.string().superRefine((text, context) => {
  const problem = urlProblem(text);
  if (problem !== undefined) context.addIssue({ code: 'custom', message: problem });
});

export const mysqlSource = z.strictObject({
  mysql: z
    .strictObject({
      url: mysqlUrl.describe(
        '`mysql://user:password@host:port/database`, or `mariadb://…`. The user needs SELECT alone.',
      ),
      passwordFile: secretFile
        .optional()
        .describe('A file with the password, instead of one in the url. Read at each connect, so it may be replaced.'),
      tls: z
        .union([z.boolean(), tlsFilesOfHost], { error: 'must be true, false or { caFile, certFile, keyFile }' })
        .default(false)
        .describe(
          "Encrypt, and check the server's certificate: `true`, or files in PEM, read at each connect, so they may be replaced.",
        ),
      connections: z.number().int().min(1).max(100).default(8).describe('Connections at once, for each process.'),
    })
    .refine(({ url, passwordFile }) => passwordFile === undefined || !parsedUrl(url)?.password, TWO_PASSWORDS),
});

const COLUMN = z.string().min(1);

const value = z.union(
  [
    z.enum(['json', 'hash']),
    z.strictObject({ string: COLUMN.describe('A string: the bytes of this column.') }),
    z.strictObject({
      module: z.string().min(1).describe('A module of yours, named from the folder in which the worker runs.'),
      function: z.string().min(1).describe('The function in it that makes the value from the row.'),
    }),
  ],
  { error: 'must be json, hash, { string: COLUMN } or { module: PATH, function: NAME }' },
);

const mapping = z
  .strictObject({
    key: z.string().min(1).describe('Which keys: a pattern such as `user:{id:int}`.'),
    query: z
      .string()
      .describe('The SELECT that finds the row of a key, such as `SELECT name FROM users WHERE id = :id`.'),
    value: value.describe(
      'What is cached of the row: `json`, `hash`, `{ string: COLUMN }` or `{ module: PATH, function: NAME }`.',
    ),
    version: COLUMN.optional().describe(
      'The column with the version of the row, a whole number that grows with each write: the cache is told it, and then takes nothing older from a replica that lags.',
    ),
    ttl: pause(1_000)
      .optional()
      .describe('How long a value that `mode: refresh` writes lives. By default as long as the one it replaces.'),
  })
  .transform(({ key, query, ...rest }, context) => {
    const pattern = KeyPattern.parse(key);
    if (typeof pattern === 'string') return refuse(context, 'key', pattern);
    const statement = Statement.parse(query, pattern.parts);
    if (typeof statement === 'string') return refuse(context, 'query', statement);
    return { pattern, statement, ...rest };
  });

function refuse(context: z.RefinementCtx, field: string, message: string): never {
  context.addIssue({ code: 'custom', path: [field], message });
  return z.NEVER;
}

export const mappings = z.array(mapping).min(1);

export type MysqlSource = z.output<typeof mysqlSource>['mysql'];
export type Mapping = z.output<typeof mapping>;

interface CacheFields {
  readonly source: object;
  readonly mode?: string | undefined;
  readonly mappings?: readonly Mapping[] | undefined;
}

/** What does not go together in a link, by field. */
export function* cacheProblems(link: CacheFields, intake: string): Generator<[field: string, message: string]> {
  const { source, mode, mappings } = link;
  if (!('mysql' in source)) {
    const message = 'is only for a source { mysql: … }';
    if (mode !== undefined) yield ['mode', message];
    if (mappings !== undefined) yield ['mappings', message];
    return;
  }
  if (mappings === undefined) {
    yield ['mappings', 'is missing; give [{ key: user:{id}, query: SELECT … WHERE id = :id, value: json }]'];
  }
  if (intake === 'redis-stream') {
    yield ['source', 'is a database, which has no stream of failed writes; write intake: kafka'];
  }
  const seen = new Set<string>();
  for (const { pattern, ttl } of mappings ?? []) {
    if (seen.has(pattern.text)) yield ['mappings', `have the key "${pattern.text}" twice`];
    seen.add(pattern.text);
    if (ttl !== undefined && mode !== 'refresh') {
      yield ['mappings', `give "${pattern.text}" a ttl, which only mode: refresh writes`];
    }
  }
}
