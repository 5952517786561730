/** Where a Redis is: `target` of a link, and `source` unless it is a database. */
import { z } from 'zod';
import { parseRedisUrl, urlProblem } from '../redis-url.js';
import { addressMap, secretFile, TWO_PASSWORDS, tlsFiles } from './tls.js';

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
/** The first url says for all whether they are asked by TLS. */
const isOneProtocol = (urls: readonly string[]) => new Set(urls.map((text) => text.startsWith('rediss:'))).size <= 1;
const ONE_PROTOCOL = 'has redis:// beside rediss://; write all of them with the same, for one decides for all';
const WANTS_TLS = { path: ['tls'], error: 'is only for urls that begin with rediss://' };
/** The password would not be of the file. */
const hasPassword = (text: string) => urlProblem(text) === undefined && parseRedisUrl(text).password !== undefined;

export const endpoint = z.union(
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
          .refine(isOneProtocol, ONE_PROTOCOL)
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
              .refine(isOneProtocol, ONE_PROTOCOL)
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
