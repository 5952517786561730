/** Why a record becomes a dead letter. */

/** Every value that `dlq.reason` can have. */
export const DEAD_LETTER_REASONS = [
  /** Records that the log can't give any more. The letter stands for all of them, and has none. */
  'unreadable-batch',
  /** The value is not JSON in UTF-8. */
  'invalid-json',
  /** The value is JSON, but not a failed-write record. */
  'invalid-record',
  /** The record has a newer format than this keymend. Upgrade the bridge, then redrive. */
  'unsupported-spec-version',
  /** The key begins with `keymend:`: it is of keymend itself, and never reconciled. */
  'reserved-key',
  /** The link is not in keymend.yaml. Add it, restart, then redrive. */
  'unknown-link',
  /** The record or its key is over the limits. */
  'too-large',
  /**
   * A workflow of somebody else runs under the ID of the key. Give keymend a namespace of its own,
   * or the link a `workflowIdPrefix`, then redrive.
   */
  'workflow-id-taken',
  /** Temporal refuses this one key for good. */
  'temporal-rejected',
  /** The last attempt of the retry policy failed. The workflow is escalated and waits. */
  'attempts-exhausted',
  /**
   * The repair failed in a way that trying again does not heal. The workflow is escalated and
   * waits.
   */
  'permanent-error',
  /** The workflow was cancelled while this was pending: nobody is at it any more. */
  'cancelled',
  /** keymend itself failed on this record. Please report it; redrive after an upgrade. */
  'internal-error',
] as const;

export type DeadLetterReason = (typeof DEAD_LETTER_REASONS)[number];
