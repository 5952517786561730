/** A sweep as its activity runs it, on the sides of a test. */
import type { LinkSides } from '../../src/engine/index.js';
import { type SweepRequest, sweepLink } from '../../src/sweep/sweep.js';
import type { CompareLinkReply, SweepOptions } from '../../workflows/sweep-messages.js';
import { DEFAULT_OPTIONS } from '../engine/link.js';

/** As fast as it goes, unless `options` says how fast. */
export async function swept(
  sides: LinkSides,
  options: SweepOptions = {},
  request: Partial<SweepRequest> = {},
): Promise<CompareLinkReply> {
  return sweepLink(sides, {
    ...DEFAULT_OPTIONS,
    settleMs: 50,
    signal: new AbortController().signal,
    options: { rate: 10_000_000, ...options },
    state: undefined,
    onProgress() {},
    ...request,
  });
}
