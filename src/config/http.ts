/** `http` of the configuration: where a process answers for itself. */
import { BlockList, isIP } from 'node:net';
import { z } from 'zod';

export interface HttpConfig {
  readonly host: string;
  /** 0: one that is free, which the log names. */
  readonly port: number;
  /** What whoever asks for `/metrics` has to know; absent: nothing. */
  readonly token?: string | undefined;
}

const LOOPBACK = new BlockList();
LOOPBACK.addSubnet('127.0.0.0', 8);
LOOPBACK.addAddress('::1', 'ipv6');

/** Whether only this machine can reach it. */
function isLoopback(host: string): boolean {
  const version = isIP(host);
  return version === 0 ? host === 'localhost' : LOOPBACK.check(host, version === 6 ? 'ipv6' : 'ipv4');
}

const MAX_PORT = 65_535;
const PORT = `must be a port, 0 to ${MAX_PORT}`;

// A text as well, as `${PORT}` is one: so one file serves several processes of a machine.
export const httpPort = z
  .union([z.number(), z.string().regex(/^\d{1,5}$/, PORT)], { error: PORT })
  .transform(Number)
  .pipe(z.number().int(PORT).min(0, PORT).max(MAX_PORT, PORT));

export const httpConfig = z
  .strictObject({
    host: z
      .string()
      .min(1)
      .default('127.0.0.1')
      .describe('The address to listen on. One that other machines reach needs a token.'),
    port: httpPort.default(9464).describe('0 to 65535; 0 takes a free port, which the log names.'),
    token: z
      .string()
      .regex(/^[\x21-\x7e]+$/, 'must be printable ASCII without spaces')
      .optional()
      .describe('What whoever asks for `/metrics` has to send: `Authorization: Bearer …`.'),
  })
  .refine(({ host, token }) => token !== undefined || isLoopback(host), {
    path: ['token'],
    message: 'is missing: others than this machine reach http.host, so /metrics needs one',
  });
