/** What the errors of a database mean: which pass by themselves, and which a person has to mend. */
import { describe, expect, test } from 'vitest';
import { failureOfDatabase } from '../../src/mysql/failure.js';

/** As mysql2 has them: its own name for the number, or none. */
function failure(code: string | undefined, errno: number | undefined, sqlState?: string) {
  const error = Object.assign(new Error('it quotes a value'), { code, errno, sqlState });
  return failureOfDatabase(error, 'the query of mapping k:{id}');
}

describe('an error of a database', () => {
  test.each([
    ['a node of a cluster that is not ready', 'ER_UNKNOWN_COM_ERROR', 1047, '08S01'],
    ['a server in offline mode', 'ER_SERVER_OFFLINE_MODE', 3032, 'HY000'],
    ['a server that is not available', 'ER_SERVER_ISNT_AVAILABLE', 3168, 'HY000'],
    ['a connection that was idle for too long', 'ER_CLIENT_INTERACTION_TIMEOUT', 4031, 'HY000'],
    ['a connection that was ended by hand, in MariaDB', undefined, 1927, '70100'],
    ['a server that is full, before any handshake', 'ER_CON_COUNT_ERROR', 1040, undefined],
    ['a user who has asked for too much in this hour', 'ER_USER_LIMIT_REACHED', 1226, '42000'],
    ['nobody who listens', 'ECONNREFUSED', -111, undefined],
  ])('is no answer of %s', (_what, code, errno, sqlState) => {
    expect(failure(code, errno, sqlState).code).toBe('CONNECTION');
  });

  test.each([
    ['a lock that was waited for', 'ER_LOCK_WAIT_TIMEOUT', 1205, 'HY000'],
    ['a deadlock', 'ER_LOCK_DEADLOCK', 1213, '40001'],
    ['a query that was ended by hand', 'ER_QUERY_INTERRUPTED', 1317, '70100'],
    ['a table that was altered meanwhile', 'ER_TABLE_DEF_CHANGED', 1412, 'HY000'],
    ['a disk', 'ER_GET_ERRNO', 1030, 'HY000'],
    ['what nobody has heard of yet', undefined, 6_999, 'HY000'],
  ])('passes where it is of %s', (_what, code, errno, sqlState) => {
    expect(failure(code, errno, sqlState).code).toBe('ERR');
  });

  test.each([
    ['its statement_time of MariaDB', undefined, 1969, '70100'],
    ['its execution_time of MySQL', 'ER_QUERY_TIMEOUT', 3024, 'HY000'],
    ['the time of the client', 'PROTOCOL_SEQUENCE_TIMEOUT', undefined, undefined],
  ])('is none in time where it is of %s', (_what, code, errno, sqlState) => {
    expect(failure(code, errno, sqlState).code).toBe('TIMEOUT');
  });

  test.each([
    ['a password', 'ER_ACCESS_DENIED_ERROR', 1045, '28000'],
    ['a right', 'ER_TABLEACCESS_DENIED_ERROR', 1142, '42000'],
    ['an account that is locked in MySQL', 'ER_ACCOUNT_HAS_BEEN_LOCKED', 3118, 'HY000'],
    ['an account that is locked in MariaDB', 'ER_BULK_PARSER_INCOMPLETE_ESCAPE_SEQUENCE', 4151, 'HY000'],
  ])('is a refusal of %s', (_what, code, errno, sqlState) => {
    expect(failure(code, errno, sqlState).code).toBe('DBDENIED');
  });

  test.each([
    ['its syntax', 'ER_PARSE_ERROR', 1064, '42000'],
    ['a table', 'ER_NO_SUCH_TABLE', 1146, '42S02'],
    ['how many rows a part of it has', 'ER_SUBQUERY_NO_1_ROW', 1242, '21000'],
    ['collations', 'ER_CANT_AGGREGATE_2COLLATIONS', 1267, 'HY000'],
    ['a key that is no date', 'ER_WRONG_VALUE', 1525, 'HY000'],
    ['a key that is no UUID', 'ER_WRONG_VALUE_FOR_TYPE', 1411, 'HY000'],
    ['a key that its character set lacks', 'ER_CANNOT_CONVERT_STRING', 3854, 'HY000'],
    ['a write', 'ER_CANT_EXECUTE_IN_READ_ONLY_TRANSACTION', 1792, '25006'],
  ])('is of the mapping where it is of %s', (_what, code, errno, sqlState) => {
    const { code: meant, message } = failure(code, errno, sqlState);
    expect(meant).toBe('MAPPING');
    expect(message).toBe(`refuses the query of mapping k:{id}: ${code} (${errno})`);
  });

  test('tells its number, and no name that is of another server', () => {
    expect(failure('ER_GET_ERRNO', 1030, 'HY000').message).toBe('ER_GET_ERRNO (1030)');
    expect(failure('ER_BULK_PARSER_INCOMPLETE_ESCAPE_SEQUENCE', 4151, 'HY000').message).toBe('error 4151');
    expect(failure(undefined, 1969 + 5_000, 'HY000').message).toBe('error 6969');
  });

  test('of a server that wants encryption says what to write', () => {
    expect(failure('ER_SECURE_TRANSPORT_REQUIRED', 3159, 'HY000').message).toMatch(/tls: true$/);
  });
});
