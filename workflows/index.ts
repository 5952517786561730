/** All workflows of a worker, for the bundler. */
export { gap } from './gap.js';
export { notices } from './notices.js';
export { outage } from './outage.js';
export { reconcileBatch } from './reconcile-batch.js';
export { reconcileKey } from './reconcile-key.js';
export { redrive } from './redrive.js';
export { scheduledSweep } from './scheduled-sweep.js';
export { sweep } from './sweep.js';
