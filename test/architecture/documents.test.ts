import { existsSync, readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { parse } from 'yaml';
import { parseConfig } from '../../src/config.js';
import { clusterStreams } from '../../src/outbox/cluster-streams.js';

const root = new URL('../../', import.meta.url);
const read = (path: string) => readFileSync(new URL(path, root), 'utf8');
const blocks = (path: string) => [...read(path).matchAll(/```yaml\n(.*?)```/gs)].map(([, text]) => text!);

describe('the YAML in the documents', () => {
  it('of docs/configuration.md is a configuration that keymend accepts', () => {
    const [text, topologies, ...others] = blocks('docs/configuration.md');
    expect(others).toEqual([]);
    const environment = { TARGET_PASSWORD: 'secret', PASSWORD: 'secret' };
    expect(parseConfig(text!, 'configuration.md', environment).links).toHaveLength(1);
    const link = `kafka: { brokers: [h:1] }\nlinks:\n  - name: east-to-west\n${topologies}`;
    expect(parseConfig(link, 'configuration.md', environment).links).toHaveLength(1);
  });

  it('of docs/security.md is one, too', () => {
    const config = parseConfig(blocks('docs/security.md').join(''), 'security.md', {
      CODEC_TOKEN: 'a-token-of-the-tests',
    });
    expect(config.links).toHaveLength(1);
    expect(config.temporal.codec?.keys).toHaveLength(2);
  });

  it('is well-formed everywhere', () => {
    const documents = ['docs/dead-letters.md', 'docs/dual-writer.md', 'docs/intakes.md', 'docs/operations.md'];
    for (const text of documents.flatMap(blocks)) expect(() => parse(text)).not.toThrow();
  });
});

it('docs/intakes.md names every stream of an outbox in a Cluster, beside its slots', () => {
  const rows = [...read('docs/intakes.md').matchAll(/(\d+) to \d+ \| `(\S+)`/g)];
  const streams = new Map(rows.map(([, first, stream]) => [Number(first), stream]));
  expect(streams).toEqual(new Map(clusterStreams('keymend:outbox').map((stream, index) => [index * 1024, stream])));
});

it('docs/security.md names for each threat a test that is there', () => {
  const rows = read('docs/security.md')
    .split('## Threats')[1]!
    .split('\n')
    .filter((line) => /^\| (?!what|---)/.test(line));
  expect(rows.length).toBeGreaterThan(15);
  const testsOf = (row: string) => [...row.matchAll(/`(test\/[^`]*)`/g)].map(([, path]) => path!);
  expect(rows.filter((row) => testsOf(row).length === 0)).toEqual([]);
  expect(rows.flatMap(testsOf).filter((path) => !existsSync(new URL(path, root)))).toEqual([]);
});

it.each([
  ['CONTRIBUTING.md', 30],
  ['docs/architecture.md', 40],
])('%s names files that are there', (page, atLeast) => {
  // Of CONTRIBUTING's prose some paths have a * or stand for others.
  const lines = read(page)
    .split('\n')
    .filter((line) => /^(?:\| (?!---)|\d\. | {3}|- )/.test(line));
  const paths = lines.flatMap((line) =>
    [...line.matchAll(/`((?:src|workflows|activities|test)\/[^`]*)`/g)].map(([, path]) => path!),
  );
  expect(paths.length).toBeGreaterThan(atLeast);
  expect(paths.filter((path) => !existsSync(new URL(path, root)))).toEqual([]);
});
