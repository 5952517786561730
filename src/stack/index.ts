/** The local services for demo and tests: Temporal, Kafka and two Redis, real ones. */

export { StackError } from './errors.js';
export { KEYMEND, KEYMEND_TITLE, type KeymendOptions, startKeymend, stopKeymend } from './processes/keymend-process.js';
export { withLock } from './processes/lock.js';
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
