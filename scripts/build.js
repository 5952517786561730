/**
 * Compiles to dist/, copies what the compiler leaves out (the Lua scripts that run inside Redis),
 * bundles the workflows for workers, and puts the second package, `@keymend/dual-writer`, together.
 */
import { spawnSync } from 'node:child_process';
import { chmodSync, cpSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { makeDualWriterPackage } from './dual-writer-package.js';

const root = new URL('../', import.meta.url);
rmSync(new URL('dist/', root), { recursive: true, force: true });
const tsc = fileURLToPath(new URL('node_modules/typescript/bin/tsc', root));
const { status } = spawnSync(process.execPath, [tsc, '-p', fileURLToPath(new URL('tsconfig.build.json', root))], {
  stdio: 'inherit',
});
if (status !== 0) process.exit(status ?? 1);
cpSync(new URL('src/', root), new URL('dist/src/', root), {
  recursive: true,
  filter: (path) => statSync(path).isDirectory() || path.endsWith('.lua'),
});
// npm makes it executable when it links it, but not again after a later build.
chmodSync(new URL('dist/src/cli/main.js', root), 0o755);
const { bundleName, bundleWorkflows } = await import(new URL('dist/src/worker/workflow-code.js', root).href);
for (const encryptsErrors of [false, true]) {
  const { code } = await bundleWorkflows(encryptsErrors);
  writeFileSync(new URL(`dist/${bundleName(encryptsErrors)}`, root), code);
}
makeDualWriterPackage(root);
