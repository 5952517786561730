/** A database by TLS, as a source. */
import { copyFileSync } from 'node:fs';
import { afterAll, beforeAll, expect, it, onTestFinished } from 'vitest';
import { parseConfig } from '../../src/config.js';
import { connectSource } from '../../src/mysql/connect-source.js';
import { provideMariadb } from '../../src/stack/programs/index.js';
import { type Certificate, type Certificates, makeCertificates } from '../support/authority.js';
import { type MariadbServer, startMariadb } from '../support/mariadb.js';
import { describeWith } from '../support/services.js';

await describeWith('a database by TLS', provideMariadb, (programs) => {
  let certificates: Certificates;
  let server: MariadbServer;
  let shown: Certificate;
  let right: Certificate;
  const copy = (from: Certificate) => {
    copyFileSync(from.certFile, shown.certFile);
    copyFileSync(from.keyFile, shown.keyFile);
  };
  const show = async (certificate: Certificate) => {
    copy(certificate);
    await server.client.query('FLUSH SSL');
  };
  beforeAll(async () => {
    certificates = makeCertificates();
    const { authority } = certificates;
    right = authority.issue({ name: 'localhost' });
    shown = { certFile: authority.file('shown.crt', ''), keyFile: authority.file('shown.key', '') };
    copy(right);
    server = await startMariadb(programs, [`--ssl-cert=${shown.certFile}`, `--ssl-key=${shown.keyFile}`]);
    await server.client.query('CREATE TABLE users (id BIGINT PRIMARY KEY, name VARCHAR(64))');
  });
  afterAll(async () => {
    await server?.stop();
    certificates?.remove();
  });

  /** @returns why it can't be used, in one line; null: it can */
  async function refusal(caFile = certificates.authority.caFile): Promise<string | null> {
    const mysql = { url: server.url.replace('127.0.0.1', 'localhost'), tls: { caFile } };
    const mappings = [{ key: 'user:{id}', query: 'SELECT name FROM users WHERE id = :id', value: 'json' }];
    const links = [{ name: 'l', source: { mysql }, target: { url: 'redis://a' }, mappings }];
    const config = parseConfig(JSON.stringify({ kafka: { brokers: ['h:1'] }, links }), 'test', {});
    const source = connectSource(config.links[0]!, { name: 'source of link l' });
    try {
      await source.check();
      return null;
    } catch (error) {
      return (error as Error).message;
    } finally {
      await source.close();
    }
  }

  it('is asked where its certificate is of a known authority and for its name', async () => {
    expect(await refusal()).toBeNull();
  });

  it('whose certificate is wrong is told in one line', async () => {
    onTestFinished(() => show(right));
    const place = /^source of link l \(localhost:\d+\) cannot be reached: /.source;
    expect(await refusal(certificates.stranger.caFile)).toMatch(
      new RegExp(`${place}nobody who is trusted here has signed its certificate; give that authority's as tls.caFile`),
    );
    await show(certificates.expired);
    expect(await refusal()).toMatch(new RegExp(`${place}its certificate has expired; renew it there`));
    await show(certificates.ofOtherName);
    expect(await refusal()).toMatch(new RegExp(`${place}its certificate is for another name; correct the host`));
  });
});
