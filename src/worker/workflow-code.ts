/** The workflows as a worker takes them: one script, bundled when keymend is built. */
import { existsSync } from 'node:fs';
import { extname } from 'node:path';
import { fileURLToPath } from 'node:url';
import { bundleWorkflowCode, DefaultLogger, type WorkflowBundle, type WorkflowBundlePath } from '@temporalio/worker';

/** The bundler takes as long as the rest of a worker's start, so `scripts/build.js` calls it. */
const BUILT = fileURLToPath(new URL('../../workflow-bundle.js', import.meta.url));

/** @throws what the bundler throws, where nothing was built */
export async function workflowCode(): Promise<WorkflowBundle | WorkflowBundlePath> {
  return existsSync(BUILT) ? { codePath: BUILT } : bundleWorkflows();
}

/** From TypeScript beside TypeScript, from JavaScript once compiled. */
export function bundleWorkflows(): Promise<WorkflowBundle> {
  const entry = new URL(`../../workflows/index${extname(import.meta.url)}`, import.meta.url);
  return bundleWorkflowCode({ workflowsPath: fileURLToPath(entry), logger: new DefaultLogger('WARN') });
}
