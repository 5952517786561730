/**
 * Makes the package `@keymend/dual-writer` in dist/dual-writer/ of what is compiled: what its
 * entries import, with types, and no more. Temporal is not in there.
 */
import { cpSync, readFileSync, writeFileSync } from 'node:fs';

const ENTRIES = {
  '.': 'src/dual-write/index',
  './kafka': 'src/kafka/record-sink',
  './tracing': 'src/dual-write/tracing',
  './cache': 'src/cache/index',
};
/** What an application brings itself; what is optional only for the entry that uses it. */
const PEERS = {
  ioredis: { optional: false },
  kafkajs: { optional: true },
  '@opentelemetry/api': { optional: true },
  mysql2: { optional: true },
};

/** @param {URL} root of the repository, compiled */
export function makeDualWriterPackage(root) {
  const [dist, to] = [new URL('dist/', root), new URL('dist/dual-writer/', root)];
  const own = JSON.parse(readFileSync(new URL('package.json', root), 'utf8'));
  const { files, packages } = reach(dist, Object.values(ENTRIES));
  for (const file of files) cpSync(new URL(file, dist), new URL(file, to));
  // Read from beside the files that use them.
  for (const folder of ['src/redis/lua/', 'src/outbox/lua/', 'src/cache/lua/'])
    cpSync(new URL(folder, dist), new URL(folder, to), { recursive: true });
  cpSync(new URL('schemas/failed-write.json', root), new URL('schemas/failed-write.json', to));
  cpSync(new URL('LICENSE', root), new URL('LICENSE', to));
  cpSync(new URL('docs/dual-writer-package.md', root), new URL('README.md', to));
  const rangeOf = (name) => {
    const range = own.dependencies[name];
    if (range === undefined) throw new Error(`@keymend/dual-writer imports ${name}, which is no dependency of keymend`);
    return [name, range];
  };
  const { version, license, type, engines } = own;
  const manifest = {
    name: '@keymend/dual-writer',
    version,
    description:
      'Writes to a second Redis what an ioredis client writes to its own, and records each write that may be missing there.',
    license,
    type,
    engines,
    exports: {
      ...Object.fromEntries(
        Object.entries(ENTRIES).map(([name, file]) => [name, { types: `./${file}.d.ts`, default: `./${file}.js` }]),
      ),
      './schemas/failed-write.json': './schemas/failed-write.json',
      './package.json': './package.json',
    },
    dependencies: Object.fromEntries(
      [...packages]
        .filter((name) => !(name in PEERS))
        .sort()
        .map(rangeOf),
    ),
    // Ours is pinned; an application may have any later one.
    peerDependencies: Object.fromEntries(
      Object.keys(PEERS)
        .map(rangeOf)
        .map(([name, range]) => [name, range.replace(/^~?(\d)/, '^$1')]),
    ),
    peerDependenciesMeta: Object.fromEntries(Object.entries(PEERS).filter(([, { optional }]) => optional)),
  };
  writeFileSync(new URL('package.json', to), `${JSON.stringify(manifest, null, 2)}\n`);
}

/** The compiled files that are imported from the entries on, and the packages. Types count, too. */
function reach(dist, entries) {
  const files = new Set();
  const packages = new Set();
  const waiting = entries.flatMap((entry) => [`${entry}.js`, `${entry}.d.ts`]);
  for (let file = waiting.pop(); file !== undefined; file = waiting.pop()) {
    if (files.has(file)) continue;
    files.add(file);
    for (const name of importsOf(readFileSync(new URL(file, dist), 'utf8'))) {
      if (name.startsWith('.')) {
        const path = new URL(name, new URL(file, dist)).href.slice(dist.href.length);
        waiting.push(file.endsWith('.d.ts') ? path.replace(/\.js$/, '.d.ts') : path);
      } else if (!name.startsWith('node:')) {
        packages.add(name.split('/', name.startsWith('@') ? 2 : 1).join('/'));
      }
    }
  }
  return { files, packages };
}

/** As the compiler writes them: each at the beginning of a line, or in a type. */
function importsOf(code) {
  const statements =
    /^(?:import|export)\b[^;]*?\bfrom\s*["']([^"']+)["']|^import\s*["']([^"']+)["']|\bimport\(["']([^"']+)["']\)/gm;
  return [...code.matchAll(statements)].map(([, from, bare, type]) => from ?? bare ?? type);
}
