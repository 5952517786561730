/** `keymend start` */
import { readConfig } from '../configured.js';
import type { GlobalOptions } from '../context.js';
import { createLogger } from '../log.js';
import { bridgeService } from '../services/bridge-service.js';
import { runServices } from '../services/service.js';
import { workerService } from '../services/worker-service.js';

export async function start(global: GlobalOptions): Promise<void> {
  const configured = readConfig(global);
  await runServices({ ...configured, logger: createLogger(global, configured.config) }, [workerService, bridgeService]);
}
