/** A certificate authority for tests, gone when the test is. */
import { execFileSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

export interface Certificate {
  readonly certFile: string;
  readonly keyFile: string;
}

export interface Authority {
  /** Who trusts it, trusts what it has signed. */
  readonly caFile: string;
  /** Of a server at 127.0.0.1, of one with that name alone, or one that has expired. */
  issue(what?: { readonly name?: string; readonly expired?: boolean }): Certificate;
  /** A file beside the others. */
  file(name: string, text: string): string;
  remove(): void;
}

const KEY = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes'];

export function makeAuthority(): Authority {
  const directory = mkdtempSync(join(tmpdir(), 'keymend-tls-'));
  const path = (name: string) => join(directory, name);
  const openssl = (...args: string[]) => execFileSync('openssl', args, { stdio: 'ignore' });
  const [caFile, caKey] = [path('ca.crt'), path('ca.key')];
  openssl('req', '-x509', ...KEY, '-days', '2', '-subj', '/CN=test', '-keyout', caKey, '-out', caFile);
  let issued = 0;
  const file = (name: string, text: string) => {
    writeFileSync(path(name), text);
    return path(name);
  };
  return {
    caFile,
    file,
    issue({ name, expired = false } = {}) {
      issued += 1;
      const [certFile, keyFile, request] = [path(`${issued}.crt`), path(`${issued}.key`), path(`${issued}.csr`)];
      const extensions = file(`${issued}.ext`, `subjectAltName=${name === undefined ? 'IP:127.0.0.1' : `DNS:${name}`}`);
      openssl('req', ...KEY, '-subj', '/CN=server', '-keyout', keyFile, '-out', request);
      const days = ['-days', expired ? '-1' : '2'];
      const ca = ['-CA', caFile, '-CAkey', caKey, '-CAcreateserial', '-extfile', extensions];
      openssl('x509', '-req', '-in', request, ...ca, ...days, '-out', certFile);
      return { certFile, keyFile };
    },
    remove: () => rmSync(directory, { recursive: true, force: true }),
  };
}

/** What every service can be given wrongly, made once. */
export function makeCertificates() {
  const authority = makeAuthority();
  const stranger = makeAuthority();
  return {
    authority,
    stranger,
    right: authority.issue(),
    client: authority.issue({ name: 'keymend' }),
    expired: authority.issue({ expired: true }),
    ofOtherName: authority.issue({ name: 'other.example' }),
    remove() {
      authority.remove();
      stranger.remove();
    },
  };
}

export type Certificates = ReturnType<typeof makeCertificates>;

/** As a server of Node.js takes them. */
export function pemOf({ certFile, keyFile }: Certificate) {
  return { cert: readFileSync(certFile), key: readFileSync(keyFile) };
}
