/** Programs that a machine may lack, apart from the services: who needs one loads no client. */

export { provideChromium } from './chromium.js';
export { provideFaketime } from './faketime.js';
export { provideHelm } from './helm.js';
export { type MariadbPrograms, provideMariadb } from './mariadb.js';
export { providePrometheus } from './prometheus.js';
export type { Provision } from './provision.js';
export { provideRedis62, provideRedis74, provideRedis82, provideValkey9 } from './redis-lines.js';
export { provideTimeSkippingServer } from './time-skipping-server.js';
