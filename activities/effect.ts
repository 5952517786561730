/** What an attempt at a key has come to, for whoever has to look at the key once more. */
import type { KeyResult } from '../src/engine/index.js';
import type { Earlier } from '../workflows/activities.js';

/** How an attempt at a key ended. */
export type EndedResult = Exclude<KeyResult, { outcome: 'large' }>;

export interface Attempted {
  readonly result: KeyResult;
  /** What earlier attempts of the activity have done to the target. */
  readonly earlier: Earlier;
  readonly lookAgain: boolean;
  /** It has compared what it wrote once more, and found it equal. */
  readonly verified?: boolean;
}

/** What an attempt has done to the target. `unknown`: what it sent may still arrive. */
export function effectOf(result: KeyResult): Earlier {
  switch (result.outcome) {
    case 'repaired':
      return 'wrote';
    case 'deferred':
    case 'large':
      return result.repaired ? 'wrote' : 'nothing';
    case 'failed': {
      const { stage, cause } = result.error;
      if (stage === 'write' && ['TIMEOUT', 'CONNECTION'].includes((cause as { code?: string })?.code ?? '')) {
        return 'unknown';
      }
      return result.wrote || stage === 'verify' ? 'wrote' : 'nothing';
    }
    default:
      return 'nothing';
  }
}

/**
 * A positional write that was on its way when the list was copied is in the copy, and happens once
 * more when it arrives.
 */
export function wroteList(result: KeyResult): boolean {
  const repaired = 'repaired' in result ? result.repaired : result;
  return repaired?.outcome === 'repaired' && repaired.type === 'list' && repaired.action !== 'expiry';
}
