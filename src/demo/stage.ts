/** What each act of the demo has in hand. */
import type { Client } from '@temporalio/client';
import type { Redis } from 'ioredis';
import type { FaultProxy } from '../stack/proxy.js';
import type { Comparison } from './compare.js';
import type { Timeline } from './timeline.js';

export interface Stage {
  readonly source: Redis;
  readonly target: Redis;
  /** The way of the application and of keymend to the target. */
  readonly link: FaultProxy;
  readonly linkName: string;
  readonly brokers: readonly string[];
  readonly client: Client;
  readonly taskQueue: string;
  readonly timeline: Timeline;
  readonly report: (line: string) => void;
  /** Ends an act, which then rejects. */
  readonly signal: AbortSignal;
  /** Both Redis as they are now. */
  compare(): Promise<Comparison>;
}
