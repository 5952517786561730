/** What several places of `keymend.yaml` say of TLS, files with secrets, and addresses. */
import { z } from 'zod';

const file = z.string().min(1);

const files = {
  caFile: file
    .optional()
    .describe('The certificates of the authorities that are trusted. Absent: those that Node.js trusts.'),
  certFile: file.optional().describe('The certificate that keymend shows to a server that wants one.'),
  keyFile: file.optional().describe('The private key of `certFile`.'),
};
const belongTogether = ({ certFile, keyFile }: { readonly certFile?: unknown; readonly keyFile?: unknown }) =>
  (certFile === undefined) === (keyFile === undefined);
const TOGETHER = { error: 'must have certFile and keyFile together, or none of them' };

/** Of a client that takes the name from the host alone. */
export const tlsFilesOfHost = z.strictObject(files).refine(belongTogether, TOGETHER);

export const tlsFiles = z
  .strictObject({
    ...files,
    serverName: z
      .string()
      .min(1)
      .optional()
      .describe("The name for which the server's certificate has to be. Absent: the host in its address."),
  })
  .refine(belongTogether, TOGETHER);

export const secretFile = file;

const address = z.string().regex(/^\S+:\d{1,5}$/, 'must be host:port');

/** From what servers say of themselves to where they are reached. */
export const addressMap = z.record(address, address, { error: 'must be { host:port: host:port }' });

export const TWO_PASSWORDS = { path: ['passwordFile'], error: 'is given beside another password; keep one' };

const MECHANISMS = ['plain', 'scram-sha-256', 'scram-sha-512', 'oauthbearer'] as const;

/** How to log in to Kafka. */
export const kafkaLogin = z
  .strictObject({
    mechanism: z.enum(MECHANISMS, { error: `must be one of ${MECHANISMS.join(', ')}` }).describe('How to log in.'),
    username: z.string().optional().describe('Who logs in; not with `oauthbearer`.'),
    password: z.string().optional().describe('The password.'),
    passwordFile: file.optional().describe('A file with it. Read at each connect, so it may be replaced.'),
    tokenFile: file
      .optional()
      .describe('Only with `oauthbearer`: a file with the token. Read at each connect, so it may be replaced.'),
  })
  .superRefine(({ mechanism, username, password, passwordFile, tokenFile }, context) => {
    const issue = (field: string, message: string) => context.addIssue({ code: 'custom', path: [field], message });
    if (mechanism === 'oauthbearer') {
      if (tokenFile === undefined) issue('tokenFile', 'is missing; write the token into a file and name it here');
      for (const [field, given] of Object.entries({ username, password, passwordFile }))
        if (given !== undefined) issue(field, 'is not for oauthbearer, which sends a token');
      return;
    }
    if (tokenFile !== undefined) issue('tokenFile', 'is only for oauthbearer');
    if (username === undefined) issue('username', 'is missing');
    if (password === undefined && passwordFile === undefined) issue('password', 'is missing, or a passwordFile');
    if (password !== undefined && passwordFile !== undefined) issue('passwordFile', TWO_PASSWORDS.error);
  });
