/** What a consumer of a stream is called: where it runs, and of which release it is. */
import { hostname } from 'node:os';
import { ulid } from 'ulid';

/** Never the name of an earlier process: that would take what it was assigned for ours. */
export function consumerName(version?: string): string {
  const name = `${hostname()}-${process.pid}-${ulid()}`;
  return version === undefined ? name : `${name}@${version}`;
}

/** @returns null where it says none, as of a release that did not */
export function versionOf(consumer: string): string | null {
  return /@([^@\s]+)$/.exec(consumer)?.[1] ?? null;
}
