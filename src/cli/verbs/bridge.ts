/** `keymend bridge` */
import { readConfig } from '../configured.js';
import type { GlobalOptions } from '../context.js';
import { createLogger } from '../log.js';
import { bridgeService } from '../services/bridge-service.js';
import { runServices } from '../services/service.js';

export async function bridge(global: GlobalOptions): Promise<void> {
  const configured = readConfig(global);
  await runServices({ ...configured, logger: createLogger(global, configured.config) }, [bridgeService]);
}
