/** Where Temporal is, by variables or a profile: what is wrong there is told without a secret. */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, it, onTestFinished } from 'vitest';
import { parseConfig } from '../../src/config.js';
import { temporalTarget } from '../../src/temporal/connect.js';
import { ENVIRONMENT } from '../support/keymend.js';

const CONFIG =
  'kafka: { brokers: [h:1] }\nlinks: [{ name: l, source: { url: redis://a }, target: { url: redis://b } }]';
const SECRET = 'eyJhbGciOi.J9-s3cret';

function target(environment: NodeJS.ProcessEnv) {
  return temporalTarget(parseConfig(CONFIG, 'test', {}), { ...ENVIRONMENT, ...environment });
}

function profile(...lines: string[]): NodeJS.ProcessEnv {
  const folder = mkdtempSync(join(tmpdir(), 'keymend-profile-'));
  onTestFinished(() => rmSync(folder, { recursive: true }));
  const file = join(folder, 'temporal.toml');
  writeFileSync(file, ['[profile.default]', ...lines].join('\n'));
  return { TEMPORAL_CONFIG_FILE: file };
}

function refusal(environment: NodeJS.ProcessEnv): Error {
  try {
    target(environment);
  } catch (error) {
    return error as Error;
  }
  throw new Error('it was taken');
}

it.each([
  ['a key without quotes', [`api_key = ${SECRET}`], /Invalid TOML document: .+ \(line 2, column \d+\)$/],
  ['a fault beside the key', ['address = h:7233', `api_key = "${SECRET}"`], / \(line 2, column \d+\)$/],
  [
    'a fault beside a private key',
    ['[profile.default.tls]', `client_key_data = "-----BEGIN ${SECRET}`, SECRET, '-----END"'],
    / \(line 3, column \d+\)$/,
  ],
])('of a profile with %s the place is told, and nothing of its text', (_, lines, expected) => {
  const error = refusal(profile(...lines));
  expect(error.message).toMatch(expected);
  for (let each: unknown = error; each !== undefined; each = (each as Error).cause)
    expect(`${each} ${JSON.stringify(each)}`).not.toContain(SECRET);
});

it.each([
  ['TEMPORAL_API_KEY', { TEMPORAL_API_KEY: `${SECRET}\n` }, 'TEMPORAL_API_KEY or api_key of the profile'],
  ['a header', { TEMPORAL_GRPC_META_AUTH: `${SECRET}\n` }, 'the value of the header auth (TEMPORAL_GRPC_META_…)'],
])('%s that gRPC would quote, as it does not take it, is refused before', (_, environment, name) => {
  expect(refusal(environment).message).toBe(
    `Temporal: ${name} can be sent only as printable ASCII in one line; look for a line break at its end`,
  );
});

it.each(['True', 'yes', 'on', 'TRUE'])('TEMPORAL_TLS=%s is refused: it would be no TLS', (value) => {
  expect(refusal({ TEMPORAL_TLS: value }).message).toMatch(/^Temporal: TEMPORAL_TLS must be true or 1, false or 0;/);
});

it('an API key goes by TLS alone, whoever has switched that off', () => {
  const off = /^Temporal: with TLS switched off .* the API key could be read on its way; switch it on$/;
  expect(refusal({ TEMPORAL_API_KEY: SECRET, TEMPORAL_TLS: 'false' }).message).toMatch(off);
  expect(refusal(profile(`api_key = "${SECRET}"`, '[profile.default.tls]', 'disabled = true')).message).toMatch(off);
  for (const value of [undefined, '', 'true', '1'])
    expect(target({ TEMPORAL_API_KEY: SECRET, TEMPORAL_TLS: value }).options.tls).toBeTruthy();
  for (const value of ['false', '0']) expect(target({ TEMPORAL_TLS: value }).options.tls).toBe(false);
});
