/** `keymend codec-server` */
import { readConfig } from '../configured.js';
import type { GlobalOptions } from '../context.js';
import { createLogger } from '../log.js';
import { codecService } from '../services/codec-service.js';
import { runServices } from '../services/service.js';

export async function codecServer(global: GlobalOptions): Promise<void> {
  const configured = readConfig(global);
  await runServices({ ...configured, logger: createLogger(global, configured.config) }, [codecService]);
}
