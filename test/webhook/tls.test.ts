/** Messages over TLS, from a process that trusts an authority of its own. */
import { execFile } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:https';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { expect, it, onTestFinished } from 'vitest';
import { makeCertificates } from '../support/tls.js';

const SEND = new URL('../../dist/src/webhook/send.js', import.meta.url).href;

it('a certificate that is not trusted is refused, one that is trusted is not', async () => {
  const certificates = makeCertificates();
  const folder = mkdtempSync(join(tmpdir(), 'keymend-webhook-'));
  const [, cert, , key] = certificates.arguments;
  const received: string[] = [];
  const server = createServer({ cert: readFileSync(cert!), key: readFileSync(key!) }, (request, response) => {
    received.push(request.url!);
    response.end();
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  onTestFinished(() => {
    server.close();
    certificates.remove();
    rmSync(folder, { recursive: true });
  });
  const ca = join(folder, 'ca.crt');
  writeFileSync(ca, certificates.ca);
  const url = `https://127.0.0.1:${(server.address() as AddressInfo).port}/hook`;
  const webhook = { url, secret: 's', format: 'json', allowPrivate: true, timeout: 10_000, gather: 1_000 };
  const notice = { kind: 'outage', id: 'i', link: 'l', shard: 's', since: '', reason: '', until: null, keysWaiting: 1 };
  const code = `import { sendNotice } from '${SEND}';
    await sendNotice(${JSON.stringify(webhook)}, ${JSON.stringify(notice)}).then(() => console.log('sent'), (e) => console.log(e.message));`;
  const send = async (env: NodeJS.ProcessEnv) => {
    const node = promisify(execFile)(process.execPath, ['--input-type=module', '-e', code], { env });
    return (await node).stdout.trim();
  };
  expect(await send({})).toMatch(/can't be reached: (UNABLE_TO_VERIFY_LEAF_SIGNATURE|SELF_SIGNED_CERT_IN_CHAIN)$/);
  expect(received).toEqual([]);
  expect(await send({ NODE_EXTRA_CA_CERTS: ca })).toBe('sent');
  expect(received).toEqual(['/hook']);
});
