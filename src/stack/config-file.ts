/** The `keymend.yaml` that goes with the local services. */
import { join } from 'node:path';
import { stringify } from 'yaml';
import { REDIS_SOURCE, REDIS_TARGET } from './environment.js';
import { readIfPresent, writeAtomically } from './processes/files.js';

const HEADER = `# Written by \`keymend stack up\` and again by the next one. To change something, copy it to keymend.yaml in your own folder.
`;

interface ConfigAddresses {
  readonly temporal: string;
  readonly brokers: readonly string[];
  readonly source: string;
  readonly target: string;
}

/** Writes the file into the data directory. @returns its path */
export function writeConfigFile(directory: string, addresses: ConfigAddresses): string {
  const path = configFile(directory);
  const text =
    HEADER +
    stringify({
      temporal: { address: addresses.temporal, taskQueue: 'keymend' },
      kafka: { brokers: addresses.brokers },
      links: [
        {
          name: 'east-to-west',
          source: { url: withoutSecret(addresses.source, REDIS_SOURCE) },
          target: { url: withoutSecret(addresses.target, REDIS_TARGET) },
        },
      ],
    });
  if (readIfPresent(path) !== text) writeAtomically(path, text);
  return path;
}

/** @returns where the file is, or will be */
export function configFile(directory: string): string {
  return join(directory, 'keymend.yaml');
}

/**
 * A URL with a password can only come from that variable; the file refers to it, so that the
 * password stays out.
 */
function withoutSecret(url: string, variable: string): string {
  return /\/\/[^/]*@/.test(url) ? `\${${variable}}` : url;
}
