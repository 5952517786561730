/**
 * The local services for demo and tests: Temporal, Kafka and two Redis, real ones; and programs
 * that only tests need.
 */
export { provideChromium } from './chromium.js';
export { StackError } from './errors.js';
export { provideFaketime } from './faketime.js';
export { KEYMEND, KEYMEND_TITLE, type KeymendOptions, startKeymend, stopKeymend } from './keymend-process.js';
export { withLock } from './lock.js';
export type { Provision } from './provision.js';
export { provideRedis62, provideRedis74, provideRedis82, provideValkey9 } from './redis-lines.js';
export {
  demoLock,
  makeDirectory,
  type ServiceStatus,
  type StackInfo,
  stackDown,
  stackStatus,
  stackUp,
  wasStarted,
  whatRuns,
} from './stack.js';
export { provideTimeSkippingServer } from './time-skipping-server.js';
