/** The last act: keys that were changed behind everybody's back, and the sweep that finds them. */
import { setMaxListeners } from 'node:events';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Redis } from 'ioredis';
import type { sweep } from '../../workflows/sweep.js';
import { progress, SWEEP_TYPE, type SweepResult, sweepWorkflowId } from '../../workflows/sweep-messages.js';
import { counted } from '../plural.js';
import { KEY_PREFIX } from './application.js';
import { showProgress } from './progress.js';
import type { Stage } from './stage.js';

/** What the last act has shown. */
export interface SweepShown extends Pick<SweepResult, 'compared' | 'repaired' | 'outcome'> {
  /** Keys that differed though no failed write told of them. */
  readonly unnoticed: number;
  readonly found: number;
  readonly listed: readonly { readonly key: string; readonly difference: string }[];
}

const ASKED_EVERY_MS = 500;

export async function throughSweep(stage: Stage): Promise<SweepShown> {
  stage.timeline.act('a sweep');
  const unnoticed = await changeUnnoticed(stage.target);
  stage.report(`${counted(unnoticed, 'key')} changed on the target by hand: no failed write tells of them`);
  const result = await sweepAndRepair(stage);
  const { compared, repaired, outcome, listed } = result;
  return { unnoticed, found: foundBy(result), compared, repaired, outcome, listed };
}

function foundBy({ differing }: SweepResult): number {
  return Object.values(differing).reduce((sum, count) => sum + count, 0);
}

/**
 * Changes keys on the target alone, as a mistake by hand would: no record of it reaches Kafka.
 * @returns how many differ for it
 */
async function changeUnnoticed(target: Redis): Promise<number> {
  const keys = (kind: string, first: number) =>
    Array.from({ length: 10 }, (_, at) => `${KEY_PREFIX}${kind}:${first + at}`);
  const [lost, overwritten, alone] = [keys('outage', 100), keys('outage', 200), keys('by-hand', 1)];
  await target.unlink(...lost);
  await target.mset([...overwritten, ...alone].flatMap((key) => [key, 'by mistake']));
  return lost.length + overwritten.length + alone.length;
}

/** Compares all keys of the link and makes equal what differs. */
async function sweepAndRepair(stage: Stage): Promise<SweepResult> {
  const { client, taskQueue, linkName, report, signal } = stage;
  let said = 'begins';
  const line = showProgress(() => `sweep      ${said}`, report);
  const ended = new AbortController();
  // Each query leaves a listener on it; Node warns past ten.
  setMaxListeners(0, ended.signal);
  try {
    const handle = await client.workflow.start<typeof sweep>(SWEEP_TYPE, {
      workflowId: sweepWorkflowId(linkName),
      taskQueue,
      args: [{ link: linkName, options: { repair: true } }],
      // Of a demo that was broken off.
      workflowIdConflictPolicy: 'TERMINATE_EXISTING',
    });
    const telling = (async () => {
      while (!ended.signal.aborted) {
        await sleep(ASKED_EVERY_MS, undefined, { signal: ended.signal }).catch(() => {});
        // A query whose answer gets lost has no end of its own.
        const now = await client.withAbortSignal(ended.signal, () => handle.query(progress)).catch(() => null);
        if (now !== null) said = `${now.percent.toFixed(0)} %, ${counted(now.compared, 'key')} compared`;
      }
    })();
    const result = await client.withAbortSignal(signal, () => handle.result());
    ended.abort();
    await telling;
    said = `${counted(result.compared, 'key')} compared, ${foundBy(result)} differed, ${result.repaired} repaired`;
    return result;
  } finally {
    ended.abort();
    line.stop();
  }
}
