/**
 * The download that Temporal's SDKs make for their test environments: a small JSON document at
 * temporal.download says where the archive for this platform lies and which file of it is the
 * program (sdk-core, `ephemeral_server`).
 */
import { chmodSync, renameSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { z } from 'zod';
import { withProgress } from '../progress.js';
import { fetchArchive, fetchText } from './download.js';
import { noWay, type Provision } from './provision.js';

const downloadInfo = z.object({ archiveUrl: z.url(), fileToExtract: z.string() });

const ARCHITECTURES: Partial<Record<NodeJS.Architecture, string>> = { x64: 'amd64', arm64: 'arm64' };

/**
 * Puts the program of an artifact into `folder` under the name `program`.
 * @param artifact `cli/VERSION` or `temporal-test-server/VERSION`
 */
export async function downloadTemporal(
  provision: Provision,
  artifact: string,
  folder: string,
  program: string,
): Promise<void> {
  const arch = ARCHITECTURES[process.arch] ?? noWay(`there is none for ${process.arch}`);
  const url = `https://temporal.download/${artifact}?arch=${arch}&platform=${process.platform}&format=tar.gz`;
  const what = `Temporal: downloading ${artifact} from ${new URL(url).host}`;
  const fetchIt = async () => {
    const info = downloadInfo.parse(JSON.parse(await fetchText(provision, url)));
    const archive = await fetchArchive(provision, info.archiveUrl, folder);
    renameSync(join(folder, 'content', info.fileToExtract), join(folder, program));
    chmodSync(join(folder, program), 0o755);
    rmSync(archive);
    rmSync(join(folder, 'content'), { recursive: true });
  };
  await withProgress(provision.report, what, fetchIt, 'tens of MB, usually some seconds');
}
