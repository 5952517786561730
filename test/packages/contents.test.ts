/** What is in the two packages as they are published, and what it stands on. */
import { execFile } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { publint } from 'publint';
import { formatMessage } from 'publint/utils';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { parse } from 'yaml';
import { pathOf, read } from '../documents/generated.js';

const run = promisify(execFile);

let folder: string;
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'keymend-contents-'));
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

/** Without what a name stands for many of: the files below these folders are compiled. */
const COMPILED = /^(dist\/(?:src|workflows|activities)|src|workflows)\/.*(\.c?js|\.d\.c?ts|\.lua)$/;

describe.each([
  [
    'keymend',
    '.',
    [
      'LICENSE',
      'README.md',
      'dist/activities',
      'dist/src',
      'dist/workflow-bundle-encrypting.js',
      'dist/workflow-bundle.js',
      'dist/workflows',
      'package.json',
    ],
  ],
  ['@keymend/dual-writer', 'dist/dual-writer', ['LICENSE', 'README.md', 'package.json', 'src', 'workflows']],
])('%s', (name, of, entries) => {
  let tarball: string;
  let files: string[];
  let manifest: { name: string; version: string };
  beforeAll(async () => {
    const { stdout } = await run('npm', ['pack', pathOf(of), '--ignore-scripts', '--json'], { cwd: folder });
    const [packed] = JSON.parse(stdout) as { filename: string; files: { path: string }[] }[];
    tarball = join(folder, packed!.filename);
    files = packed!.files.map(({ path }) => path);
    manifest = JSON.parse(read(join(of, 'package.json')));
  });

  it('has what runs, its types, the schema and the licence, and nothing else', () => {
    const rest = files.map((file) => COMPILED.exec(file)?.[1] ?? file);
    expect([...new Set(rest)].sort()).toEqual([...entries, 'schemas/failed-write.json'].sort());
    expect(manifest).toMatchObject({ name, version: JSON.parse(read('package.json')).version });
  });

  it('has nothing that publint has to say something about', async () => {
    const bytes = readFileSync(tarball);
    const pack = { tarball: bytes.buffer.slice(bytes.byteOffset, bytes.byteOffset + bytes.byteLength) };
    const { messages, pkg } = await publint({ pack, strict: true });
    expect(messages.map((message) => formatMessage(message, pkg))).toEqual([]);
  });

  it('has types that every resolution of ECMAScript modules finds (attw)', async () => {
    const attw = pathOf('node_modules/@arethetypeswrong/cli/dist/index.js');
    const args = [tarball, '--profile', 'esm-only', '--format', 'ascii', '--no-color', '--no-emoji'];
    const { code = 0, stdout } = await run(process.execPath, [attw, ...args]).catch((error) => error);
    expect({ code, stdout }).toMatchObject({ code: 0, stdout: expect.stringContaining('node16 (from ESM): OK (ESM)') });
  });
});

describe('what both stand on', () => {
  /** None of them asks more than to be named, or to keep its own changes open. */
  const ALLOWED = new Set([
    '0BSD',
    'Apache-2.0',
    'Apache-2.0 AND MIT',
    'BlueOak-1.0.0',
    'BSD-2-Clause',
    'BSD-3-Clause',
    'CC-BY-4.0',
    'ISC',
    'MIT',
    'Unlicense',
  ]);
  /** Its package.json does not say so, its LICENSE does. */
  const READ_BY_HAND = new Map([['unionfs', 'Unlicense']]);
  const { packages } = JSON.parse(read('package-lock.json')) as {
    packages: Record<string, { dev?: boolean; optional?: boolean; license?: string; version: string }>;
  };
  const production = Object.entries(packages).filter(([path, { dev }]) => path !== '' && !dev);
  const nameOf = (path: string) => path.slice(path.lastIndexOf('node_modules/') + 'node_modules/'.length);

  it('has licences that may stand beside MIT', () => {
    // Of another system's binaries the lock knows none: they have that of the package they are of.
    const known = production.filter(([, { license, optional }]) => !(optional && license === undefined));
    expect(known.length).toBeGreaterThan(100);
    const licences = known.map(([path, { license }]) => [path, license ?? READ_BY_HAND.get(nameOf(path))]);
    expect(licences.filter(([, license]) => !ALLOWED.has(license!))).toEqual([]);
  });

  it('is listed in the SBOM, each with its version, and nothing of development', async () => {
    const file = join(folder, 'sbom.json');
    await run('npm', ['run', '--silent', 'sbom', '--', '--output-file', file], { cwd: pathOf('.') });
    const { bomFormat, components } = JSON.parse(readFileSync(file, 'utf8')) as {
      bomFormat: string;
      components: { group?: string; name: string; version: string }[];
    };
    expect(bomFormat).toBe('CycloneDX');
    const listed = components.map(({ group, name, version }) => `${group ? `${group}/` : ''}${name}@${version}`);
    const wanted = production.map(([path, { version }]) => `${nameOf(path)}@${version}`);
    expect(new Set(listed)).toEqual(new Set(wanted));
  });
});

interface Step {
  readonly id?: string;
  readonly run?: string;
  readonly uses?: string;
  readonly with?: { readonly tags?: string };
}

describe('a release', () => {
  const workflow = parse(read('.github/workflows/release.yml')) as {
    jobs: Record<string, { needs?: string; permissions?: object; steps: Step[] }>;
  };
  const commandsOf = (job: string) => workflow.jobs[job]!.steps.flatMap(({ run }) => run ?? []).join('\n');

  it('publishes with provenance, and only what no audit objects to and all tests have passed', () => {
    expect(workflow.jobs.publish).toMatchObject({ needs: 'test', permissions: { 'id-token': 'write' } });
    expect(commandsOf('test')).toContain('npm audit --omit=dev --audit-level=high');
    expect(commandsOf('test')).toContain('npm test');
    expect(commandsOf('publish')).toContain('for package in . ./dist/dual-writer; do');
    expect(commandsOf('publish')).toContain('|| npm publish "${package}" --provenance --access public');
  });

  it('can be started again where it failed: the image comes first, and what npm has already is left as it is', () => {
    const { steps } = workflow.jobs.publish!;
    const image = steps.findIndex(({ uses }) => uses?.startsWith('docker/build-push-action@'));
    const publish = steps.findIndex(({ run }) => run?.includes('npm publish'));
    expect(image).toBeGreaterThan(-1);
    expect(publish).toBeGreaterThan(image);
    expect(commandsOf('publish')).toMatch(/npm view "\$\{name\}@.*" version \|\| npm publish/);
  });

  it('has the image under the version without a v, which is what the chart asks for', async () => {
    const { steps } = workflow.jobs.publish!;
    const image = steps.find(({ uses }) => uses?.startsWith('docker/build-push-action@'))!;
    expect(image.with!.tags).toMatch(/:\$\{\{ steps\.tag\.outputs\.version \}\}$/);
    const { appVersion } = parse(read('charts/keymend/Chart.yaml')) as { appVersion: string };
    const output = join(folder, 'output');
    const env = { ...process.env, GITHUB_REF_NAME: `v${appVersion}`, GITHUB_OUTPUT: output };
    const script = steps.find(({ id }) => id === 'tag')!.run!;
    await run('bash', ['-e', '-c', script], { cwd: pathOf('.'), env });
    expect(readFileSync(output, 'utf8')).toBe(`version=${appVersion}\n`);
    const other = run('bash', ['-e', '-c', script], { cwd: pathOf('.'), env: { ...env, GITHUB_REF_NAME: 'v0.0.0' } });
    await expect(other).rejects.toThrow();
  });

  it('tests the versions of Node that the packages say they run on', () => {
    const { matrix } = (workflow.jobs.test as unknown as { strategy: { matrix: { node: number[] } } }).strategy;
    expect(matrix.node).toEqual([20, 22, 24]);
    expect(JSON.parse(read('package.json')).engines.node).toBe('>=20.19');
  });
});
