import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import type { DualWriter } from '../../src/dual-write/dual-writer.js';
import { type NarrowLink, startNarrowLink } from '../support/narrow-link.js';
import { type Bed, settled, startBed } from './bed.js';
import { expectMended } from './repair.js';

const MB = 1_000_000;
const BYTES_PER_SECOND = 2 * MB;
/** The timeout of a mirrored write: a fraction of what each of the transfers below takes. */
const TIMEOUT_MS = 300;
/** Takes longer than the timeout and what the kernel gets in addition for all that it holds. */
const LONG_BYTES = 14 * MB;

let bed: Bed;
let narrow: NarrowLink;
beforeAll(async () => {
  bed = await startBed();
  narrow = await startNarrowLink(bed.target.port, BYTES_PER_SECOND);
});
afterEach(() => bed.reset());
afterAll(async () => {
  narrow.close();
  await bed.stop();
});

function codes(): (string | undefined)[] {
  return bed.sink.records.map(({ error }) => error?.code);
}

/** On a busy machine a write may take longer than the marks of other writers live. */
function expectNoneLost(): void {
  expect(codes().filter((code) => code !== 'CROSSED')).toEqual([]);
}

describe('a link that is narrow, to a target that answers', () => {
  const behindNarrowLink = (): Promise<DualWriter> => bed.writer({ timeoutMs: TIMEOUT_MS, target: narrow });

  it('gets many values through that together take longer than the timeout', async () => {
    const writer = await behindNarrowLink();
    const [count, bytes] = [LONG_BYTES / 20_000, 20_000];
    await Promise.all(Array.from({ length: count }, (_, index) => writer.set(`k${index}`, 'v'.repeat(bytes))));
    await settled(writer);
    expectNoneLost();
    expect(writer.stats()).toMatchObject({ mirrored: count, shards: [{ breaker: 'closed' }] });
  });

  it('gets a value through that alone takes longer than the timeout', async () => {
    const writer = await behindNarrowLink();
    await writer.set('large', Buffer.alloc(LONG_BYTES, 'v'));
    await settled(writer);
    expectNoneLost();
    expect(await bed.target.client.strlen('large')).toBe(LONG_BYTES);
  });

  it('gets a value through that leaves the process at once', async () => {
    const writer = await behindNarrowLink();
    // The kernel takes it as a whole: from then on nothing shows that it is on its way.
    await writer.set('large', Buffer.alloc(2 * MB, 'v'));
    await settled(writer);
    expectNoneLost();
    expect(await bed.target.client.strlen('large')).toBe(2 * MB);
  });
});

describe('a target that is dead', () => {
  afterEach(() => expectMended(bed));

  it('is noticed although the network takes more and more bytes for it', async () => {
    const writer = await bed.writer({ timeoutMs: TIMEOUT_MS });
    bed.link.swallow();
    let written = 0;
    while (bed.sink.records.length === 0) {
      await writer.set(`k${written}`, 'v'.repeat(100));
      written += 1;
    }
    await settled(writer);
    expect(codes()).toContain('TIMEOUT');
  });

  it('is noticed when its network takes nothing more of a large value', async () => {
    const writer = await bed.writer({ timeoutMs: TIMEOUT_MS, target: bed.target });
    bed.target.freeze();
    try {
      await writer.set('large', Buffer.alloc(40 * MB, 'v'));
      expect((await bed.sink.have(1))[0]).toMatchObject({
        key: 'large',
        outcome: 'unknown',
        error: { code: 'TIMEOUT' },
      });
    } finally {
      bed.target.thaw();
    }
    await settled(writer);
  });
});

describe('a connection that breaks', () => {
  afterEach(() => expectMended(bed));

  it('is one failure to the breaker, however many writes were on it', async () => {
    const writer = await bed.writer({ more: { breaker: { failures: 2, minProbeMs: 60_000, maxProbeMs: 60_000 } } });
    const changes: unknown[] = [];
    writer.on('breaker', (change) => changes.push(change));
    bed.link.swallow();
    await Promise.all(Array.from({ length: 20 }, (_, index) => writer.set(`k${index}`, 'v')));
    while (writer.stats().shards[0]!.inFlight < 20) await new Promise((resolve) => setImmediate(resolve));
    bed.link.cut();
    bed.link.restore();
    expect((await bed.sink.have(20)).every(({ error }) => error?.code === 'CONNECTION_LOST')).toBe(true);
    // Those that meet no connection meanwhile are victims of the same failure.
    const { mirrored } = writer.stats();
    while (writer.stats().mirrored === mirrored) {
      await writer.set('probe', 'v');
      await settled(writer);
    }
    expect(changes).toEqual([]);
  });

  it('is one failure of several when none comes about again', async () => {
    const writer = await bed.writer({ more: { breaker: { failures: 4 } } });
    bed.link.cut();
    while (writer.stats().shards[0]!.breaker !== 'open') {
      await writer.set('k', 'v');
      await settled(writer);
      await new Promise((resolve) => setImmediate(resolve));
    }
  });
});
