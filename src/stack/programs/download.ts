/** Files from the services' own download sites. */
import { createWriteStream, mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import type { ReadableStream } from 'node:stream/web';
import { reasonOf } from '../errors.js';
import { findOnPath, run } from './command.js';
import { noWay, type Provision } from './provision.js';

/** Long enough for a slow network to answer, short enough that a closed one costs seconds. */
const ANSWER_WITHIN_MS = 5_000;
const ARCHIVE_WITHIN_MS = 15 * 60_000;
const EXTRACT_WITHIN_MS = 2 * 60_000;

/** @returns the body of a small text or JSON document */
export async function fetchText(provision: Provision, url: string): Promise<string> {
  const response = await request(provision, url, ANSWER_WITHIN_MS);
  return response.text();
}

/** Fetches a gzipped tar archive and unpacks it into `folder`. @returns the archive's path */
export async function fetchArchive(provision: Provision, url: string, folder: string): Promise<string> {
  const tar = findOnPath('tar', provision.environment) ?? noWay('there is no tar to unpack it');
  const archive = join(folder, 'archive.tar.gz');
  const response = await request(provision, url, ARCHIVE_WITHIN_MS);
  await pipeline(Readable.fromWeb(response.body as ReadableStream), createWriteStream(archive));
  mkdirSync(join(folder, 'content'));
  await run(tar, ['-xzf', archive, '-C', join(folder, 'content')], { ...provision, timeoutMs: EXTRACT_WITHIN_MS });
  return archive;
}

/**
 * Asks for a document; the connection must be answered within seconds, whatever time the whole may
 * take.
 * @throws Error saying which host failed and how
 */
async function request(provision: Provision, url: string, withinMs: number): Promise<Response> {
  const answered = new AbortController();
  const late = setTimeout(() => answered.abort(new Error('no answer')), ANSWER_WITHIN_MS);
  const signals = [answered.signal, AbortSignal.timeout(withinMs), ...(provision.signal ? [provision.signal] : [])];
  const response = await fetch(url, { signal: AbortSignal.any(signals) })
    .catch((error: unknown) => {
      const cause = error instanceof Error && error.cause instanceof Error ? error.cause : error;
      throw new Error(`${new URL(url).host}: ${reasonOf(cause)}`, { cause: error });
    })
    .finally(() => clearTimeout(late));
  return response.ok ? response : noWay(`${new URL(url).host} answers ${response.status} for ${new URL(url).pathname}`);
}
