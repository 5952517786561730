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

/**
 * By number: the client has the names that MySQL gives, and MariaDB means other things by some of
 * them. A refused user, password or right; the account is locked (3118, 4151), its password to be
 * changed (1820, 1862), or this host (1129, 1130) or its way to log in (1251) not taken.
 */
const DENIED: ReadonlySet<number> = new Set([
  1044, 1045, 1129, 1130, 1142, 1143, 1227, 1251, 1370, 1698, 1820, 1862, 1873, 3118, 4151,
]);
/**
 * It takes no connection or question now: full (1040, 1203, 1226), ending (1053, 1077, 1079, 1152,
 * 1184, 3032, 3168), or it ended this connection (1927, 3169, 4031); a node of a cluster that is
 * not ready says that it knows no such command (1047).
 */
const AWAY: ReadonlySet<number> = new Set([
  1040, 1047, 1053, 1077, 1079, 1152, 1184, 1203, 1226, 1927, 3032, 3168, 3169, 4031,
]);
/** Its own limit has ended the query: max_statement_time (MariaDB), max_execution_time. */
const ENDED_QUERY: ReadonlySet<number> = new Set([1969, 3024]);
const LATE = /^(PROTOCOL_SEQUENCE_TIMEOUT|ETIMEDOUT)$/;
/**
 * What the query asks for can't be had: by class, syntax and names (42), how many columns or rows
 * (21), what is made of data (22), a write (25), what is not supported (0A); and those without a
 * class: collations that do not go together (1267, 1270, 1271), an option of the server that
 * forbids it (1290), a view without its tables (1356) or its owner (1449), and a part of a key that
 * its column can't hold (1411, 1525, 3854, 3988). All else may pass.
 */
const OF_STATEMENT = /^(42|21|22|25|0A)/;
const ALSO_OF_STATEMENT: ReadonlySet<number> = new Set([1267, 1270, 1271, 1290, 1356, 1411, 1449, 1525, 3854, 3988]);
const [NO_DATABASE, ONLY_ENCRYPTED] = [1049, 3159];
/** From here on MySQL and MariaDB have different names for one number. */
const FIRST_OF_TWO_NAMES = 4000;

/** @param what was asked, for a person: `the query of mapping user:{id}` */
export function failureOfDatabase(error: unknown, what: string): RedisFailure {
  if (error instanceof RedisFailure) return error;
  const { code = '', errno = 0, message = '' } = (error ?? {}) as DatabaseError;
  if (LATE.test(code)) return new RedisFailure('TIMEOUT', 'no answer in time');
  // Those of the operating system are below zero.
  if (errno > 0) return refusal(error as DatabaseError, what);
  if (code === 'HANDSHAKE_SSL_ERROR') {
    // Why is said in words alone; they are of certificates.
    const why = message.replace(/\s+/g, ' ').trim();
    return new RedisFailure('CONNECTION', `it can't be spoken with by TLS: ${why}`, { errno: code });
  }
  // What the client alone has a name for is no reason to give the server up.
  return new RedisFailure('CONNECTION', describe(code), { errno: code.startsWith('PROTOCOL_') ? undefined : code });
}

/** What the server itself says. */
function refusal({ code = '', errno = 0, sqlState = '', message }: DatabaseError, what: string): RedisFailure {
  const isNamed = errno < FIRST_OF_TWO_NAMES && /^ER_[A-Z0-9_]+$/.test(code);
  const told = isNamed ? `${code} (${errno})` : `error ${errno}`;
  if (ENDED_QUERY.has(errno)) return new RedisFailure('TIMEOUT', 'no answer in time');
  if (DENIED.has(errno)) return new RedisFailure('DBDENIED', told);
  if (errno === ONLY_ENCRYPTED) {
    return new RedisFailure('CONNECTION', `it takes encrypted connections alone (${told}); write tls: true`);
  }
  if (AWAY.has(errno) || sqlState.startsWith('08')) {
    return new RedisFailure('CONNECTION', `it takes no connection now, ${told}`);
  }
  if (errno === NO_DATABASE) return new RedisFailure('MAPPING', `has no database of the name in the url (${told})`);
  if (OF_STATEMENT.test(sqlState) || ALSO_OF_STATEMENT.has(errno)) {
    // Both name nothing but what stands in the query.
    const names = /^(Unknown column|Table) '[^']*'[^']*('[^']*')?$/.test(message) ? `: ${message}` : '';
    return new RedisFailure('MAPPING', `refuses ${what}: ${told}${names}`);
  }
  return new RedisFailure('ERR', told);
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
