/**
 * What an error of a database means, in the words of the port. MySQL quotes values in its messages,
 * and a statement holds the key: only its own name of the error goes on.
 */
import { RedisFailure } from '../redis/index.js';

interface DatabaseError extends Error {
  /** `ER_…` of the server, `PROTOCOL_…` of the client, or of the operating system. */
  readonly code?: string;
  readonly errno?: number;
  readonly sqlState?: string;
}

const DENIED =
  /^ER_(ACCESS_DENIED|DBACCESS_DENIED|TABLEACCESS_DENIED|COLUMNACCESS_DENIED|SPECIFIC_ACCESS_DENIED|PROCACCESS_DENIED|ACCOUNT_HAS_BEEN_LOCKED|MUST_CHANGE_PASSWORD|HOST_NOT_PRIVILEGED|HOST_IS_BLOCKED|NOT_SUPPORTED_AUTH)/;
/** It takes no connection now. */
const FULL =
  /^ER_(CON_COUNT|TOO_MANY_USER_CONNECTIONS|USER_LIMIT_REACHED|SERVER_SHUTDOWN|NORMAL_SHUTDOWN|NEW_ABORTING_CONNECTION|ABORTING_CONNECTION|CONNECTION_KILLED)/;
/** The same statement may pass later. */
const PASSING = /^ER_(LOCK_|QUERY_INTERRUPTED|OUT_OF_RESOURCES|OUTOFMEMORY|DISK_FULL)/;
const LATE = /^(ER_(STATEMENT_TIMEOUT|QUERY_TIMEOUT)|PROTOCOL_SEQUENCE_TIMEOUT|ETIMEDOUT)$/;
/** Syntax and names that are not there. */
const OF_STATEMENT = /^(42|21)/;

/** @param what was asked, for a person: `the query of mapping user:{id}` */
export function failureOfDatabase(error: unknown, what: string): RedisFailure {
  if (error instanceof RedisFailure) return error;
  const { code = '', errno, sqlState = '', message } = (error ?? {}) as DatabaseError;
  const told = /^[A-Z][A-Z0-9_]+$/.test(code) ? code : 'an error without a name';
  const numbered = errno !== undefined && errno > 0 ? `${told} (${errno})` : told;
  if (LATE.test(code)) return new RedisFailure('TIMEOUT', 'no answer in time');
  if (DENIED.test(code)) return new RedisFailure('DBDENIED', numbered);
  if (FULL.test(code)) return new RedisFailure('CONNECTION', `it takes no connection now, ${numbered}`);
  if (PASSING.test(code)) return new RedisFailure('ERR', numbered);
  if (code === 'ER_BAD_DB_ERROR')
    return new RedisFailure('MAPPING', `has no database of the name in the url (${numbered})`);
  // Both name nothing but what stands in the query.
  const names = /^(Unknown column|Table) '[^']*'[^']*('[^']*')?$/.test(message ?? '') ? `: ${message}` : '';
  if (OF_STATEMENT.test(sqlState) || code.startsWith('ER_')) {
    return new RedisFailure('MAPPING', `refuses ${what}: ${numbered}${names}`);
  }
  if (code === 'HANDSHAKE_SSL_ERROR') {
    // Why is said in words alone; they are of certificates.
    const why = `${message}`.replace(/\s+/g, ' ').trim();
    return new RedisFailure('CONNECTION', `it can't be spoken with by TLS: ${why}`, { errno: code });
  }
  // What the client alone has a name for is no reason to give the server up.
  return new RedisFailure('CONNECTION', describe(code), { errno: code.startsWith('PROTOCOL_') ? undefined : code });
}

function describe(code: string): string {
  const known: Readonly<Record<string, string>> = {
    ECONNREFUSED: 'nothing listens there',
    ENOTFOUND: 'the host name is not known',
    PROTOCOL_CONNECTION_LOST: 'the connection was closed',
    HANDSHAKE_NO_SSL_SUPPORT: 'it takes no encrypted connections',
  };
  return known[code] === undefined ? code || 'the connection was closed' : `${known[code]} (${code})`;
}
