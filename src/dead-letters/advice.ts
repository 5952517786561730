/** What to do with letters of a reason. */
import type { DeadLetterReason } from '../../workflows/dead-letter-reasons.js';
import { nextStep } from '../../workflows/error-types.js';

interface Advice {
  /** Whether a redrive can do something with them, once the cause is mended. */
  readonly isRedrivable: boolean;
  /** For a person; null: what the error type says. */
  readonly step: string | null;
}

const RECORD = 'Look at one, mend its producer, and compare both sides with a sweep. Then discard them.';

const ADVICE: Readonly<Record<DeadLetterReason, Advice>> = {
  'unreadable-batch': {
    isRedrivable: false,
    step: 'What was in there is lost: a sweep with --repair finds what it leaves behind. Then discard them.',
  },
  'invalid-json': { isRedrivable: false, step: RECORD },
  'invalid-record': { isRedrivable: false, step: RECORD },
  'unsupported-spec-version': { isRedrivable: true, step: 'Upgrade keymend, then redrive.' },
  'reserved-key': { isRedrivable: false, step: nextStep('ReservedKey') },
  'unknown-link': { isRedrivable: true, step: 'Add the link to the configuration, restart, then redrive.' },
  'too-large': { isRedrivable: false, step: RECORD },
  'workflow-id-taken': {
    isRedrivable: true,
    step: 'Give keymend a Temporal namespace of its own, or the link a workflowIdPrefix, then redrive.',
  },
  'temporal-rejected': { isRedrivable: true, step: 'See what Temporal refused, then redrive.' },
  'attempts-exhausted': { isRedrivable: true, step: null },
  'permanent-error': { isRedrivable: true, step: null },
  cancelled: { isRedrivable: true, step: 'Its workflow was cancelled, and nobody is at it. Redrive, or discard.' },
  'internal-error': { isRedrivable: true, step: 'keymend failed on it. Report it, upgrade, then redrive.' },
};

/** @param reason of letters that somebody else wrote it may be anything */
export function adviceFor(reason: string, errorType: string | undefined): { isRedrivable: boolean; step: string } {
  const known = Object.hasOwn(ADVICE, reason) ? ADVICE[reason as DeadLetterReason] : undefined;
  if (known === undefined) return { isRedrivable: false, step: 'Not written by keymend. See who writes there.' };
  return { isRedrivable: known.isRedrivable, step: known.step ?? nextStep(errorType ?? '') };
}
