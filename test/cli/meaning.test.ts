/** Which keys a verb for many is meant for. */
import { expect, it } from 'vitest';
import { expectOneMeaning } from '../../src/cli/bulk/selection.js';
import type { BulkFlags } from '../../src/cli/usage/bulk.js';

const meant = (query: string) => () => expectOneMeaning(undefined, { query, encoding: 'utf8' } as BulkFlags);

it('a query is one clause: it can not leave the parentheses it is put into', () => {
  for (const query of ['KeymendError = "a) OR (b"', '(A = \'x\' AND (B = "\\"("))', 'A = "x" OR B = "y"']) {
    expect(meant(query), query).not.toThrow();
  }
  for (const query of ['A = "x") OR (B = "y"', '(A = "x"', 'A = "x', "A = 'x", '', 'A = "x" ORDER BY StartTime']) {
    expect(meant(query), query).toThrow('--query');
  }
});
