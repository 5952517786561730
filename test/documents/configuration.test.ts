/** docs/configuration.md says of every setting what the schema says. */
import { expect, it } from 'vitest';
import { parse, stringify } from 'yaml';
import { parseConfig } from '../../src/config.js';
import { blocks, pages, pathOf, withGenerated } from './generated.js';
import { configurationReference, undescribed } from './settings.js';

const PAGE = 'docs/configuration.md';

it('docs/configuration.md has every setting as the schema has it; `npm run docs` writes it anew', async () => {
  await expect(withGenerated(PAGE, configurationReference())).toMatchFileSnapshot(pathOf(PAGE));
});

it('every setting says what it is for', () => {
  expect(undescribed()).toEqual([]);
});

const LINK = { name: 'east-to-west', source: { url: 'redis://a' }, target: { url: 'redis://b' } };

/** With what a block leaves out; null where it is no configuration of ours. */
function completed(block: string): object | null {
  const given = parse(block);
  if (given.containers !== undefined) return null;
  const { links, source, target, ...settings } = given.config ?? given;
  const link = source === undefined ? LINK : { ...LINK, source, target };
  const kafka = settings.intake === undefined && { kafka: { brokers: ['localhost:9092'] } };
  return { ...kafka, ...settings, links: (links ?? [link]).map((some: object) => ({ ...LINK, ...some })) };
}

it('what a page shows of a configuration is taken as it stands there', () => {
  const shown = pages().flatMap((page) => blocks(page, 'yaml').map((block) => ({ page, config: completed(block) })));
  const ofOurs = shown.filter(({ config }) => config !== null);
  expect(ofOurs.length).toBeGreaterThan(10);
  const secretOf = (name: string) => {
    if (name.endsWith('_URL')) return `redis://${name.toLowerCase().replace('_', '-')}`;
    return name.endsWith('_WEBHOOK') ? 'https://hooks.example.com' : '0123456789abcdef'.repeat(2);
  };
  const environment = new Proxy({}, { get: (_, name) => secretOf(String(name)), has: () => true });
  for (const { page, config } of ofOurs) parseConfig(stringify(config), page, environment);
});
