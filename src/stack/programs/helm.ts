/** Helm, for the test of the chart in charts/. */
import { join } from 'node:path';
import { withProgress } from '../progress.js';
import { findOnPath, run } from './command.js';
import { cached, firstWay, noWay, type Provision } from './provision.js';

const VERSION = '3.22.0';
const BUILD_WITHIN_MS = 30 * 60_000;
const REMEDIES = 'Install Helm 3 (https://helm.sh) so that `helm` is on the PATH.';

/**
 * @returns the path of a `helm` 3
 * @throws StackError
 */
export function provideHelm(provision: Provision): Promise<string> {
  const { environment } = provision;
  const build = (folder: string) => {
    const go = findOnPath('go', environment) ?? noWay('no go on the PATH');
    const options = {
      ...provision,
      environment: { ...environment, GOBIN: folder },
      folder,
      timeoutMs: BUILD_WITHIN_MS,
    };
    return withProgress(provision.report, 'Helm: building from source with go install (some minutes)', async () => {
      await run(go, ['install', `helm.sh/helm/v3/cmd/helm@v${VERSION}`], options);
    });
  };
  return firstWay(provision, 'Helm', REMEDIES, [
    { name: 'PATH', looks: true, attempt: async () => findOnPath('helm', environment) ?? noWay('no helm there') },
    { name: 'go install', attempt: async () => join(await cached(provision, `helm/${VERSION}`, build), 'helm') },
  ]);
}
