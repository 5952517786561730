/** What a worker is called at Temporal, as its Web UI shows it beside each task. */
import { hostname } from 'node:os';

/** The SDK's own name of a process, and the release: so it shows without Worker Versioning, too. */
export function workerIdentity(version: string): string {
  return `${process.pid}@${hostname()} keymend/${version}`;
}

/** @returns null where it says none, as of a release that did not */
export function versionIn(identity: string): string | null {
  return / keymend\/(\S+)$/.exec(identity)?.[1] ?? null;
}
