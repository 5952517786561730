/** The first act: an application writes through a DualWriter while its links fail in every way. */
import { setTimeout as sleep } from 'node:timers/promises';
import type { DualWriter } from '../dual-write/dual-writer.js';
import { counted } from '../plural.js';
import { writeOnce } from './application.js';
import { type Links, PHASES, type Phase } from './phases.js';
import { showProgress } from './progress.js';
import type { Stage } from './stage.js';
import { openWriter } from './writer.js';

export interface Written {
  readonly operations: number;
  /** Failed-write records that Kafka or the outbox took. */
  readonly failedWrites: number;
  /** How many of them waited in the outbox, because Kafka could not be reached. */
  readonly throughOutbox: number;
  /** Records that neither took. */
  readonly lost: number;
  /** How often the writer stopped sending to a target that did not answer. */
  readonly breakerOpened: number;
  /** By key, in ms since the epoch. */
  readonly lastFailedAt: ReadonlyMap<string, number>;
}

const KEYS_PER_TYPE = 10;
const PAUSE_BETWEEN_WRITES_MS = 2;

/**
 * Writes through all phases. Leaves the links as the last one had them, and no connection of its
 * own.
 */
export async function throughFaults(stage: Stage): Promise<Written> {
  const { link, timeline, report, signal } = stage;
  timeline.act('a link that fails');
  const lastFailedAt = new Map<string, number>();
  const writer = openWriter({
    ...stage,
    failed({ key, failedAt }) {
      lastFailedAt.set(key, Date.parse(failedAt));
      timeline.failed();
    },
  });
  const { redis, kafka, seen } = writer;
  let operations = 0;
  let phaseName = '';
  const line = showProgress(() => {
    const { recorded } = redis.stats();
    return `link ${phaseName.padEnd(20)} ${counted(operations, 'write')}, ${recorded} of them failed, ${seen.throughOutbox} in the outbox`;
  }, report);
  try {
    for (const phase of PHASES) {
      phaseName = phase.name;
      timeline.link(phase.name);
      for await (const _ of writesOf(phase, { target: link, kafka }, redis, signal)) operations += 1;
      if (phase !== PHASES.at(-1)) line.step();
    }
    const lost = await writer.close();
    return { operations, failedWrites: redis.stats().recorded, ...seen, lost, lastFailedAt };
  } catch (error) {
    // Interrupted: nothing of the writer must go on.
    await writer.close(1000);
    throw error;
  } finally {
    line.stop();
  }
}

/** Writes through one phase; yields after each write. */
async function* writesOf(phase: Phase, links: Links, redis: DualWriter, signal: AbortSignal): AsyncGenerator<void> {
  phase.begin(links);
  for (let operation = 0; operation < phase.operations; operation++) {
    phase.during?.(links, operation);
    await writeOnce(redis, KEYS_PER_TYPE, Math.random);
    yield;
    await sleep(PAUSE_BETWEEN_WRITES_MS, undefined, { signal });
  }
}
