/**
 * The local services for demo and tests: Temporal, Kafka and two Redis, real ones; and programs
 * that only tests need.
 */

export { StackError } from './errors.js';
export { KEYMEND, KEYMEND_TITLE, type KeymendOptions, startKeymend, stopKeymend } from './processes/keymend-process.js';
export { withLock } from './processes/lock.js';
export { provideChromium } from './programs/chromium.js';
export { provideFaketime } from './programs/faketime.js';
export { provideHelm } from './programs/helm.js';
export { type MariadbPrograms, provideMariadb } from './programs/mariadb.js';
export { providePrometheus } from './programs/prometheus.js';
export type { Provision } from './programs/provision.js';
export { provideRedis62, provideRedis74, provideRedis82, provideValkey9 } from './programs/redis-lines.js';
export { provideTimeSkippingServer } from './programs/time-skipping-server.js';
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
