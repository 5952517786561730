/** A source behind Sentinels, cleaned up after the test that calls it. */
import { onTestFinished } from 'vitest';
import { type SentinelGroup, startSentinelGroup } from '../support/sentinel.js';

export interface SentinelBed {
  readonly group: SentinelGroup;
  /** As keymend.yaml has it. */
  readonly endpoint: { readonly sentinel: { readonly name: string; readonly urls: string[] } };
  /** As an application has it. */
  readonly options: { sentinels: { host: string; port: number }[]; name: string; lazyConnect: true };
}

export async function sentinelBed(): Promise<SentinelBed> {
  const name = 'mymaster';
  const group = await startSentinelGroup(name);
  onTestFinished(() => group.stop());
  const urls = group.sentinels.map(({ host, port }) => `redis://${host}:${port}`);
  return {
    group,
    endpoint: { sentinel: { name, urls } },
    options: { sentinels: [...group.sentinels], name, lazyConnect: true },
  };
}
