/**
 * The domain: compare a key on the two sides of a link and repair the target.
 * Knows Redis through a port, and nothing of Temporal or Kafka.
 */
export { type Compared, compareKeys, type Difference, type Differing } from './compare.js';
export type { KeyRequest, KeyResult, KeyTask, LinkSides, ReconcileOptions } from './contract.js';
export { refuseDeletes, refusedDeletes } from './delete-guard.js';
export { ReconcileError, type ReconcileErrorType, reconcileError, type Side, type Stage } from './errors.js';
export { toleranceFor, tolerates } from './expiry-tolerance.js';
export { type LargeKeyOptions, type LargeKeyProgress, reconcileLargeKey } from './large/large-key.js';
export { LinkMemory } from './link-memory.js';
export { reconcileEach, reconcileKeys } from './reconcile.js';
export { withEarlier } from './rounds.js';
export { type Scope, scopeOf } from './scope.js';
export { sightOf } from './sight.js';
