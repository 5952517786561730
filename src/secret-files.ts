/**
 * Secrets and certificates that stand in files. They are read when they are needed and not kept, so
 * a file that was replaced counts from the next connection on.
 */
import { readFileSync } from 'node:fs';
import { createSecureContext, type SecureContext } from 'node:tls';

/** Names of files in PEM. Absent: what Node.js does by itself. */
export interface TlsFiles {
  readonly caFile?: string | undefined;
  readonly certFile?: string | undefined;
  readonly keyFile?: string | undefined;
  readonly serverName?: string | undefined;
}

/** The message is one line: which file, what is wrong, what to do. Nothing of what is in it. */
export class SecretFileError extends Error {
  override readonly name = 'SecretFileError';
}

/**
 * What is in the file, without the end of its last line.
 * @throws SecretFileError
 */
export function readSecret(path: string): string {
  const secret = textOf(path).replace(/\r?\n$/, '');
  if (secret === '') throw new SecretFileError(`the file ${path} is empty; write the secret into it`);
  return secret;
}

/**
 * How to connect by TLS, in the words of `tls.connect`.
 * @throws SecretFileError
 */
export function readTls(files: TlsFiles): { readonly secureContext: SecureContext; readonly servername?: string } {
  const { secureContext } = readPem(files);
  return { secureContext, ...(files.serverName !== undefined && { servername: files.serverName }) };
}

/**
 * The same for a client that makes the context itself: what is in the files, tried.
 * @throws SecretFileError
 */
export function readPem({ caFile, certFile, keyFile }: TlsFiles) {
  const [ca, cert, key] = [caFile, certFile, keyFile].map((path) => (path === undefined ? undefined : pemOf(path)));
  const pem = { ...(ca && { ca }), ...(cert && { cert }), ...(key && { key }) };
  try {
    return { pem, secureContext: createSecureContext(pem) };
  } catch (error) {
    const files = [caFile, certFile, keyFile].filter((path) => path !== undefined).join(', ');
    const reason = (error as NodeJS.ErrnoException).code ?? 'not known why';
    throw new SecretFileError(
      `${files} can't be used for TLS (${reason}); check that they are PEM, and that key and certificate belong together`,
    );
  }
}

function pemOf(path: string): string {
  const text = textOf(path);
  // Of a text without certificates Node would trust none, and say nothing.
  if (text.includes('-----BEGIN ')) return text;
  throw new SecretFileError(
    `the file ${path} is no PEM: it has no line -----BEGIN …; write the whole certificate or key`,
  );
}

function textOf(path: string): string {
  try {
    return readFileSync(path, 'utf8');
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    throw new SecretFileError(`the file ${path} can't be read (${code}); check that it is there and who may read it`);
  }
}
