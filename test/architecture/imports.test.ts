import { readdirSync, readFileSync } from 'node:fs';
import { dirname, join, relative, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { describe, expect, it } from 'vitest';

const ROOT = fileURLToPath(new URL('../../', import.meta.url));

/**
 * What each part of the house may import besides itself. Arrows point one way: a part that is not
 * named may not be imported.
 */
const MAY_IMPORT: Record<string, readonly string[]> = {
  workflows: [],
  activities: ['workflows', 'src/bridge', 'src/dead-letters', 'src/engine', 'src/events', 'src/patience', 'src/sweep'],
  'src/config.ts': ['src/config', 'src/secret-files.ts', 'workflows'],
  'src/config': [
    'src/defaults.ts',
    'src/did-you-mean.ts',
    'src/mapping',
    'src/privacy.ts',
    'src/redis-url.ts',
    'workflows',
  ],
  'src/privacy.ts': [],
  'src/traceparent.ts': [],
  'src/secret-files.ts': [],
  'src/tls-trouble.ts': [],
  'src/mapping': ['src/did-you-mean.ts'],
  'src/webhook': ['src/config.ts', 'src/plural.ts', 'workflows'],
  'src/did-you-mean.ts': [],
  'src/cost-model.ts': [],
  'src/html-page.ts': [],
  'src/plural.ts': [],
  'src/defaults.ts': [],
  'src/own-keys.ts': [],
  'src/redis-url.ts': [],
  'src/commands': [],
  'src/patience': [],
  'src/redis': [
    'src/config.ts',
    'src/defaults.ts',
    'src/own-keys.ts',
    'src/patience',
    'src/redis-url.ts',
    'src/secret-files.ts',
    'src/tls-trouble.ts',
  ],
  'src/mysql': ['src/config.ts', 'src/defaults.ts', 'src/patience', 'src/redis', 'src/secret-files.ts'],
  'src/engine': ['src/plural.ts', 'src/commands', 'src/own-keys.ts', 'src/patience', 'src/redis'],
  'src/sweep': [
    'src/engine',
    'src/events',
    'src/html-page.ts',
    'src/own-keys.ts',
    'src/plural.ts',
    'src/redis',
    'workflows',
  ],
  'src/events': ['src/defaults.ts', 'workflows'],
  'src/kafka': [
    'src/plural.ts',
    'src/config.ts',
    'src/events',
    'src/patience',
    'src/secret-files.ts',
    'src/tls-trouble.ts',
    'workflows',
  ],
  'src/outbox': [
    'src/plural.ts',
    'src/config.ts',
    'src/defaults.ts',
    'src/events',
    'src/own-keys.ts',
    'src/patience',
    'src/redis',
    'workflows',
  ],
  'src/telemetry': ['src/config.ts', 'src/patience', 'src/privacy.ts', 'src/traceparent.ts', 'workflows'],
  'src/failing-keys': ['src/config.ts', 'src/outbox', 'src/plural.ts', 'src/redis'],
  'src/temporal': ['src/config.ts', 'src/patience', 'src/secret-files.ts', 'src/tls-trouble.ts', 'workflows'],
  'src/bridge': [
    'src/commands',
    'src/config.ts',
    'src/events',
    'src/failing-keys',
    'src/kafka',
    'src/outbox',
    'src/own-keys.ts',
    'src/patience',
    'src/plural.ts',
    'src/redis',
    'src/telemetry',
    'src/temporal',
    'workflows',
  ],
  'src/client': ['src/bridge', 'src/defaults.ts', 'src/events', 'src/own-keys.ts', 'src/temporal', 'workflows'],
  'src/dead-letters': [
    'src/bridge',
    'src/config.ts',
    'src/events',
    'src/kafka',
    'src/outbox',
    'src/patience',
    'src/redis',
    'workflows',
  ],
  'src/worker': [
    'activities',
    'src/bridge',
    'src/config.ts',
    'src/dead-letters',
    'src/engine',
    'src/events',
    'src/mysql',
    'src/patience',
    'src/plural.ts',
    'src/privacy.ts',
    'src/redis',
    'src/redis-url.ts',
    'src/sweep',
    'src/telemetry',
    'src/temporal',
    'src/webhook',
    'workflows',
  ],
  'src/dual-write': [
    'src/plural.ts',
    'src/commands',
    'src/defaults.ts',
    'src/events',
    'src/outbox',
    'src/own-keys.ts',
    'src/patience',
    'src/privacy.ts',
    'src/redis',
    'src/traceparent.ts',
    'workflows',
  ],
  'src/cache': [
    'src/defaults.ts',
    'src/dual-write',
    'src/events',
    'src/own-keys.ts',
    'src/patience',
    'src/redis',
    'workflows',
  ],
  'src/stack': ['src/redis-url.ts', 'workflows'],
  'src/demo': [
    'src/plural.ts',
    'src/dual-write',
    'src/events',
    'src/html-page.ts',
    'src/kafka',
    'src/outbox',
    'src/stack',
    'workflows',
  ],
  'src/cli': [
    'src/plural.ts',
    'src/bridge',
    'src/config.ts',
    'src/dead-letters',
    'src/cost-model.ts',
    'src/defaults.ts',
    'src/demo',
    'src/did-you-mean.ts',
    'src/engine',
    'src/events',
    'src/failing-keys',
    'src/mysql',
    'src/outbox',
    'src/own-keys.ts',
    'src/patience',
    'src/privacy.ts',
    'src/redis',
    'src/redis-url.ts',
    'src/stack',
    'src/sweep',
    'src/telemetry',
    'src/temporal',
    'src/worker',
    'workflows',
  ],
  'src/index.ts': ['src/dual-write', 'src/events', 'src/kafka', 'src/outbox', 'src/webhook'],
};

function filesUnder(folder: string, ...endings: string[]): string[] {
  return readdirSync(join(ROOT, folder), { recursive: true, encoding: 'utf8' })
    .filter((name) => endings.some((ending) => name.endsWith(ending)))
    .map((name) => join(folder, name));
}

function partOf(file: string): string {
  const [top, second] = file.split('/');
  return top === 'src' ? `src/${second}` : top!;
}

function importsOf(file: string): string[] {
  const text = readFileSync(join(ROOT, file), 'utf8');
  return [...text.matchAll(/(?:\bfrom|\bimport)\s*\(?\s*'([^']+)'/g)].map(([, specifier]) => specifier!);
}

/** The files of the house that a file imports. */
function importedFiles(file: string): string[] {
  return importsOf(file)
    .filter((specifier) => specifier.startsWith('.'))
    .map((specifier) => resolved(file, specifier));
}

function resolved(file: string, specifier: string): string {
  return relative(ROOT, resolve(ROOT, dirname(file), specifier)).replace(/\.js$/, '.ts');
}

/** Every way along imports that leads back to a file of the way, from there on. */
function cyclesFrom(file: string, way: readonly string[], done: Set<string>): string[] {
  const begin = way.indexOf(file);
  if (begin >= 0) return [[...way.slice(begin), file].join(' → ')];
  if (done.has(file)) return [];
  const cycles = importedFiles(file).flatMap((next) => cyclesFrom(next, [...way, file], done));
  done.add(file);
  return cycles;
}

const FILES = ['src', 'workflows', 'activities'].flatMap((folder) => filesUnder(folder, '.ts'));

describe('imports', () => {
  it('point one way through the house', () => {
    const wrong = FILES.flatMap((file) =>
      importedFiles(file)
        .filter((imported) => partOf(imported) !== partOf(file))
        .filter((imported) => !MAY_IMPORT[partOf(file)]?.includes(partOf(imported)))
        .map((imported) => `${file} imports ${imported}`),
    );
    expect(wrong).toEqual([]);
  });

  it('never lead back to the file they began at', () => {
    const done = new Set<string>();
    expect(FILES.flatMap((file) => cyclesFrom(file, [], done))).toEqual([]);
  });

  it('of workflows are the workflow SDK and their own files alone', () => {
    const wrong = FILES.filter((file) => file.startsWith('workflows/')).flatMap((file) =>
      importsOf(file).filter((specifier) => specifier !== '@temporalio/workflow' && !/^\.\/[^/]+$/.test(specifier)),
    );
    expect(wrong).toEqual([]);
  });

  it('keep Temporal and Kafka, their types too, out of what knows of neither', () => {
    const wrong = FILES.filter((file) => /^src\/(commands|engine|events|outbox|patience|redis)\//.test(file)).flatMap(
      (file) => importsOf(file).filter((specifier) => /temporalio|kafkajs/.test(specifier)),
    );
    expect(wrong).toEqual([]);
  });
});

describe('exports', () => {
  /** What applications import, `exports` of package.json; and what a worker bundles. */
  const PUBLIC = [
    'src/index.ts',
    'src/cache/index.ts',
    'src/dual-write/index.ts',
    'src/dual-write/tracing.ts',
    'src/client/index.ts',
    'workflows/messages.ts',
    'workflows/index.ts',
  ];
  const read = (file: string) => readFileSync(join(ROOT, file), 'utf8');
  /** The names in `{ one, type Two as Three }`, before or behind `as`. */
  const namesIn = (braces: string, side: 'before' | 'behind') =>
    [...braces.matchAll(/(\w+)(?: as (\w+))?\s*[,}]/g)].map(([, name, alias]) => (side === 'behind' && alias) || name!);

  function exportsOf(file: string): string[] {
    const text = read(file);
    const declared = [...text.matchAll(/^export (?:async |abstract )*(?:function|class|const|interface|type) (\w+)/gm)];
    const listed = [...text.matchAll(/^export (?:type )?(\{[^}]*\})/gm)];
    return [...declared.map(([, name]) => name!), ...listed.flatMap(([, braces]) => namesIn(braces!, 'behind'))];
  }

  /** What a file imports, as `file name`; as `file *` where an index exports again all there is. */
  function importedNames(file: string): string[] {
    const text = read(file);
    const lists = text.matchAll(/\b(?:im|ex)port\s+(?:type\s+)?(\{[^}]*\}|\*(?: as (\w+))?)\s*from\s*'(\.[^']+)'/g);
    const onDemand = [...text.matchAll(/\bimport\('(\.[^']+)'\)\)\.(\w+)/g)].map(
      ([, specifier, name]) => `${resolved(file, specifier!)} ${name}`,
    );
    const ahead = [...lists].flatMap(([, list, namespace, specifier]) => {
      const imported = resolved(file, specifier!).replace(/^dist\//, '');
      const members = () => [...text.matchAll(new RegExp(`\\b${namespace}\\.(\\w+)`, 'g'))].map(([, name]) => name!);
      const names = namespace ? members() : list === '*' ? ['*'] : namesIn(list!, 'before');
      return names.map((name) => `${imported} ${name}`);
    });
    return [...ahead, ...onDemand];
  }

  it('are each imported by another file', () => {
    const users = [...FILES, ...['test', 'bench', 'scripts'].flatMap((folder) => filesUnder(folder, '.ts', '.js'))];
    const imported = new Set(users.flatMap(importedNames));
    const isImported = (file: string, name: string): boolean =>
      imported.has(`${file} ${name}`) ||
      (imported.has(`${file} *`) && isImported(join(dirname(file), 'index.ts'), name));
    const dead = FILES.filter((file) => !PUBLIC.includes(file)).flatMap((file) =>
      exportsOf(file)
        .filter((name) => !isImported(file, name))
        .map((name) => `${file} ${name}`),
    );
    expect(dead).toEqual([]);
  });
});

describe('the code', () => {
  const read = (file: string) => readFileSync(join(ROOT, file), 'utf8').split('\n');

  it('has no comment beyond column 100', () => {
    const tests = ['test', 'bench'].flatMap((folder) => filesUnder(folder, '.ts'));
    const wide = [...FILES, ...filesUnder('src', '.lua'), ...tests].flatMap((file) =>
      read(file).flatMap((line, index) =>
        line.length > 100 && /^\s*(\/\/|\*|\/\*\*|--)/.test(line) ? [`${file}:${index + 1}`] : [],
      ),
    );
    expect(wide).toEqual([]);
  });
});

describe('the house', () => {
  it('has no part for things without a name', () => {
    expect(FILES.filter((file) => /\b(utils?|common|helpers?|misc)\b/.test(file))).toEqual([]);
  });

  it('reads the environment in one place for each purpose', () => {
    const readers = FILES.filter((file) => /process\.env/.test(readFileSync(join(ROOT, file), 'utf8')));
    expect(readers.filter((file) => !file.startsWith('src/cli/'))).toEqual([]);
  });
});
