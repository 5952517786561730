/** What a link asks of its workflows, and what it asks when its configuration says nothing. */

/**
 * What a link asks of its workflows. Taken from `keymend.yaml` by whoever starts the workflow. All
 * times in ms.
 */
export interface LinkPolicy {
  readonly settleMs: number;
  readonly verify: 'auto' | 'always' | 'never';
  readonly retry: {
    readonly maximumAttempts: number;
    readonly initialIntervalMs: number;
    readonly backoffCoefficient: number;
    readonly maximumIntervalMs: number;
  };
  readonly escalation: { readonly retryEveryMs: number };
  /**
   * The target is a cache, into which a reader may put what it has read before the write: a key is
   * looked at now, and once more when `settle` has passed, whatever was found. Absent: it is not.
   */
  readonly looksTwice?: boolean | undefined;
}

/**
 * What a link asks when its configuration says nothing, and for a workflow that was started by
 * hand.
 */
export const DEFAULT_POLICY: LinkPolicy = {
  settleMs: 1_000,
  verify: 'auto',
  retry: { maximumAttempts: 8, initialIntervalMs: 500, backoffCoefficient: 2, maximumIntervalMs: 30_000 },
  escalation: { retryEveryMs: 15 * 60_000 },
};
