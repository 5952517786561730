/** The part of `keymend.yaml` about payloads that Temporal is not to read. */
import { z } from 'zod';
import { SECRET_CHARACTERS } from '../privacy.js';
import { httpPort } from './http.js';

const key = z
  .strictObject({
    id: z
      .string()
      .regex(/^[A-Za-z0-9._-]{1,64}$/, 'must be 1 to 64 letters, digits, dots, _ or -')
      .describe('What payloads call the key. It stands beside them, readable.'),
    secretFile: z.string().min(1).optional().describe('A file with the key: 32 random bytes as base64.'),
    secret: z.string().min(1).optional().describe('The same as a text; write `${NAME}`.'),
  })
  .refine(({ secret, secretFile }) => (secret === undefined) !== (secretFile === undefined), {
    error: 'must have secretFile or secret, and not both',
  });

const server = z
  .strictObject({
    host: z.string().min(1).default('127.0.0.1').describe('The address to listen on.'),
    port: httpPort.default(8081).describe('0 to 65535; 0 takes a free port, which the log names.'),
    // As the first part of a path it would never be found with a / or ? in it.
    token: z
      .string()
      .regex(
        /^[A-Za-z0-9._~+=-]*$/,
        'must be of letters, digits and . _ ~ + = - alone, for it may stand in a path; make one with `openssl rand -hex 32`',
      )
      .min(SECRET_CHARACTERS, `must have at least ${SECRET_CHARACTERS} characters`)
      .describe(
        'What whoever asks has to send, at least 16 letters, digits or `.` `_` `~` `+` `=` `-`: `Authorization: Bearer …`, or as the first part of the path.',
      ),
    origins: z
      .array(z.string().regex(/^https?:\/\/[^/\s]+$/, 'must be an origin such as https://temporal.example'))
      .default([])
      .describe('The Web UIs whose pages may ask, such as `http://localhost:8233`. Absent: none.'),
  })
  .describe(
    'What `keymend codec-server` listens on, which shows decrypted payloads to the Web UI and CLI of Temporal.',
  );

export const codec = z
  .strictObject({
    keys: z.array(key).min(1).describe('AES-256 keys: the first encrypts, all decrypt.'),
    server: server.optional(),
  })
  .superRefine(({ keys }, context) => {
    keys.forEach(({ id }, index) => {
      if (keys.findIndex((other) => other.id === id) === index) return;
      context.addIssue({ code: 'custom', path: ['keys', index, 'id'], message: `"${id}" is used twice` });
    });
  });
