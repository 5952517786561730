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
export async function bundleWorkflows(): Promise<WorkflowBundle> {
  const entry = new URL(`../../workflows/index${extname(import.meta.url)}`, import.meta.url);
  const { code } = await bundleWorkflowCode({
    workflowsPath: fileURLToPath(entry),
    logger: new DefaultLogger('WARN'),
  });
  return { code: mappedToItself(code) };
}

const SOURCE_MAP = '//# sourceMappingURL=data:';
const NAME = 'workflow-bundle.js';

/**
 * With a source map that says of each line that it is that line. The SDK wants one, and looks up
 * ten places in it at every promise of a workflow: among those of a real one that is a tenth of
 * what a key costs. It would also tell where this was built.
 */
function mappedToItself(bundle: string): string {
  const at = bundle.lastIndexOf(SOURCE_MAP);
  const code = at < 0 ? bundle : bundle.slice(0, at);
  const lines = code.split('\n').length;
  // Line by line, each beginning where the one before it does, one line down.
  const mappings = `AAAA;${'AACA;'.repeat(lines - 1)}`;
  const map = { version: 3, file: NAME, sources: [NAME], names: [], mappings };
  return `${code}${SOURCE_MAP}application/json;base64,${Buffer.from(JSON.stringify(map)).toString('base64')}\n`;
}
