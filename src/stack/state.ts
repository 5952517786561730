/**
 * What the stack remembers of a data directory between commands: the ports, so that a service comes
 * back where it was.
 */
import { join } from 'node:path';
import { z } from 'zod';
import { readIfPresent, writeAtomically } from './processes/files.js';
import { type PortName, type Ports, USUAL_PORTS } from './processes/ports.js';

const portNames = Object.keys(USUAL_PORTS) as [PortName, ...PortName[]];
const stateSchema = z.object({
  version: z.literal(1),
  ports: z.partialRecord(z.enum(portNames), z.number().int().min(1).max(65_535)),
});

interface StackState {
  readonly ports: Ports;
}

/** An unreadable file counts as none: the ports are then chosen anew. */
export function readState(directory: string): StackState {
  const text = readIfPresent(stateFile(directory));
  try {
    const { ports } = stateSchema.parse(JSON.parse(text ?? 'null'));
    return { ports: ports as Ports };
  } catch {
    return { ports: {} };
  }
}

export function writeState(directory: string, state: StackState): void {
  writeAtomically(stateFile(directory), `${JSON.stringify({ version: 1, ...state }, null, 2)}\n`);
}

/** @returns where the file is, or will be */
export function stateFile(directory: string): string {
  return join(directory, 'stack.json');
}
