/** A sweep as its activity runs it, on the sides of a test. */
import { setTimeout as sleep } from 'node:timers/promises';
import { type LinkSides, reconcileKeys, reconcileLargeKey } from '../../src/engine/index.js';
import type { Batches } from '../../src/sweep/hand-over.js';
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
    batches: options.repair ? inProcess(sides) : undefined,
    onProgress() {},
    ...request,
  });
}

/** Batches that repair at once, in place of workflows. An ID says how many of its keys healed. */
function inProcess(sides: LinkSides): Batches {
  return {
    async start(found, first, signal) {
      const open = new Set(found.map(({ key }) => key));
      let healed = 0;
      while (open.size > 0) {
        const keys = [...open];
        const results = await reconcileKeys(
          sides,
          keys.map((key) => ({ key })),
          { ...DEFAULT_OPTIONS, signal },
        );
        for (const [index, result] of results.entries()) {
          if (result.outcome === 'deferred') continue;
          open.delete(keys[index]!);
          const isLarge = result.outcome === 'large';
          const request = { key: keys[index]! };
          const end = isLarge
            ? await reconcileLargeKey(sides, request, { ...DEFAULT_OPTIONS, onProgress() {} })
            : result;
          if (end.outcome !== 'failed') healed += 1;
        }
        if (open.size > 0) await sleep(50);
      }
      return `${first} ${healed}`;
    },
    ended: async (batch) => ({ healed: Number(batch.split(' ')[1]), wentOn: [], atMs: Date.now() }),
  };
}
