/** A database by TLS, as a source. */
import { copyFileSync, writeFileSync } from 'node:fs';
import type { RowDataPacket } from 'mysql2/promise';
import { afterAll, beforeAll, expect, it, onTestFinished } from 'vitest';
import { parseConfig } from '../../src/config.js';
import { connectSource } from '../../src/mysql/connect-source.js';
import type { RedisPort } from '../../src/redis/index.js';
import { provideMariadb } from '../../src/stack/programs/index.js';
import { type Certificate, type Certificates, makeCertificates } from '../support/authority.js';
import { until } from '../support/eventually.js';
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

  function sourceWith(access: object) {
    const mysql = { url: server.url.replace('127.0.0.1', 'localhost'), ...access };
    const mappings = [{ key: 'user:{id}', query: 'SELECT name FROM users WHERE id = :id', value: 'json' }];
    const links = [{ name: 'l', source: { mysql }, target: { url: 'redis://a' }, mappings }];
    const config = parseConfig(JSON.stringify({ kafka: { brokers: ['h:1'] }, links }), 'test', {});
    return connectSource(config.links[0]!, { name: 'source of link l' });
  }

  /** @returns why it can't be used, in one line; null: it can */
  const refusalOf = (source: RedisPort) =>
    source.check().then(
      () => null,
      (error: Error) => error.message,
    );

  async function refusal(caFile = certificates.authority.caFile): Promise<string | null> {
    const source = sourceWith({ tls: { caFile } });
    try {
      return await refusalOf(source);
    } finally {
      await source.close();
    }
  }

  /** As a server that is restarted. Resolves when they are gone. */
  async function endConnectionsOf(user: string): Promise<void> {
    const list = async () => {
      const query = 'SELECT id FROM information_schema.processlist WHERE user = ?';
      const [rows] = await server.client.query<RowDataPacket[]>(query, [user]);
      return rows.map(({ id }) => Number(id));
    };
    for (const id of await list()) await server.client.query(`KILL CONNECTION ${id}`);
    await until(async () => (await list()).length === 0);
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

  it('is asked with the password that its file has when a connection is made', async () => {
    await server.client.query("CREATE USER rotating IDENTIFIED BY 'old'; GRANT SELECT ON shop.* TO rotating");
    const { authority } = certificates;
    const passwordFile = authority.file('database-password', 'old\n');
    const url = `mysql://rotating@localhost:${server.port}/shop`;
    const source = sourceWith({ url, passwordFile, tls: { caFile: authority.caFile } });
    onTestFinished(() => source.close());
    expect(await refusalOf(source)).toBeNull();
    await server.client.query("ALTER USER rotating IDENTIFIED BY 'new'");
    expect(await refusalOf(source)).toBeNull(); // What is open goes on.
    await endConnectionsOf('rotating');
    await until(async () => /refuses the user, the password/.test((await refusalOf(source)) ?? ''));
    writeFileSync(passwordFile, '');
    expect(await refusalOf(source)).toMatch(/ cannot be reached: the file \S+ is empty; write the secret into it$/);
    writeFileSync(passwordFile, 'new');
    expect(await refusalOf(source)).toBeNull();
  });

  it('is known by the authorities that the file names when a connection is made', async () => {
    const { authority, stranger } = certificates;
    const caFile = authority.file('authorities-of-database.crt', '');
    copyFileSync(authority.caFile, caFile);
    const source = sourceWith({ tls: { caFile } });
    onTestFinished(() => source.close());
    expect(await refusalOf(source)).toBeNull();
    copyFileSync(stranger.caFile, caFile);
    expect(await refusalOf(source)).toBeNull();
    await endConnectionsOf('reader');
    await until(async () => /nobody who is trusted here/.test((await refusalOf(source)) ?? ''));
    copyFileSync(authority.caFile, caFile);
    expect(await refusalOf(source)).toBeNull();
  });
});
