import { readFileSync } from 'node:fs';
import { expect, it } from 'vitest';
import { OURS } from '../../src/cli/doctor/temporal.js';

it('the doctor takes no workflow of a worker for one of somebody else', () => {
  const all = readFileSync(new URL('../../workflows/index.ts', import.meta.url), 'utf8');
  const types = [...all.matchAll(/^export \{ (\w+) \}/gm)].map(([, type]) => type);
  expect([...OURS].sort()).toEqual(types.sort());
});
