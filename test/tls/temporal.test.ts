/** Temporal by TLS, as the TEMPORAL_* variables say it. */
import { createSecureServer } from 'node:http2';
import type { AddressInfo } from 'node:net';
import { afterAll, beforeAll, expect, it, onTestFinished } from 'vitest';
import { parseConfig } from '../../src/config.js';
import { connectClient, temporalTarget } from '../../src/temporal/connect.js';
import { connectWorker } from '../../src/worker/connect.js';
import { type Certificate, type Certificates, makeCertificates, pemOf } from '../support/authority.js';
import { ENVIRONMENT } from '../support/keymend.js';
import { stack } from '../support/services.js';
import { startTlsProxy } from './terminating.js';

let certificates: Certificates;
beforeAll(() => {
  certificates = makeCertificates();
});
afterAll(() => certificates?.remove());

const CONFIG =
  'kafka: { brokers: [h:1] }\nlinks: [{ name: l, source: { url: redis://a }, target: { url: redis://b } }]';

function target(port: number, environment: NodeJS.ProcessEnv) {
  const usual = { ...ENVIRONMENT, TEMPORAL_ADDRESS: `127.0.0.1:${port}` };
  return temporalTarget(parseConfig(CONFIG, 'test', {}), { ...usual, ...environment });
}

const settings = (caFile: string, client?: Certificate): NodeJS.ProcessEnv => ({
  TEMPORAL_TLS_SERVER_CA_CERT_PATH: caFile,
  ...(client && { TEMPORAL_TLS_CLIENT_CERT_PATH: client.certFile, TEMPORAL_TLS_CLIENT_KEY_PATH: client.keyFile }),
});

async function proxy(certificate: Certificate) {
  const port = Number(stack().temporal.address.split(':')[1]);
  const started = await startTlsProxy(port, certificate, certificates.authority.caFile);
  onTestFinished(() => started.close());
  return started.port;
}

it('with the right certificates a client and a worker connect', async () => {
  const at = target(await proxy(certificates.right), settings(certificates.authority.caFile, certificates.client));
  const client = await connectClient(at);
  await client.connection.close();
  const connection = await connectWorker(at);
  await connection.close();
});

it('each certificate that is wrong is one line', async () => {
  const { authority, stranger, client } = certificates;
  const refusal = async (server: 'right' | 'expired' | 'ofOtherName', environment: NodeJS.ProcessEnv) =>
    connectClient(target(await proxy(certificates[server]), environment)).then(
      () => 'none',
      (error: Error) => error.message,
    );
  const [stranges, expired, otherName, missing] = await Promise.all([
    refusal('right', settings(stranger.caFile, client)),
    refusal('expired', settings(authority.caFile, client)),
    refusal('ofOtherName', settings(authority.caFile, client)),
    refusal('right', settings(authority.caFile)),
  ]);
  const where = /^Temporal at 127\.0\.0\.1:\d+, namespace default: .+; /.source;
  const says = (text: string) => new RegExp(`${where}${text}$`);
  expect(stranges).toMatch(
    says(
      "nobody who is trusted here has signed its certificate; give that authority's as TEMPORAL_TLS_SERVER_CA_CERT_PATH",
    ),
  );
  expect(expired).toMatch(says('its certificate has expired; renew it there'));
  expect(otherName).toMatch(
    says(
      'its certificate is for another name; correct the host, or say with TEMPORAL_TLS_SERVER_NAME which name is right',
    ),
  );
  expect(missing).toMatch(
    says('it wants a certificate that it trusts from whoever connects; give one as TEMPORAL_TLS_CLIENT_CERT_PATH'),
  );
});

it('the API key goes with each call', async () => {
  const server = createSecureServer(pemOf(certificates.right));
  const sent = new Set<string | undefined>();
  server.on('stream', (stream, { authorization }) => {
    sent.add(authorization);
    stream.respond({ ':status': 200, 'content-type': 'application/grpc', 'grpc-status': '16' }, { endStream: true });
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  onTestFinished(() => void server.close());
  const { port } = server.address() as AddressInfo;
  const at = target(port, { ...settings(certificates.authority.caFile), TEMPORAL_API_KEY: 'an-api-key' });
  await expect(connectClient(at)).rejects.toThrow(/UNAUTHENTICATED/);
  expect([...sent]).toEqual(['Bearer an-api-key']);
});

it('an address that is none is one line', async () => {
  await expect(connectClient(target(99_999, settings(certificates.authority.caFile)))).rejects.toMatchObject({
    name: 'TemporalError',
    message: expect.stringMatching(/^Temporal at 127\.0\.0\.1:99999, namespace default: .+temporal.address right\?$/),
  });
});
