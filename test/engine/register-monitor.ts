/**
 * Records what a Redis carries out, in its own order and with its own clock, through MONITOR: as
 * events of registers, see test/support/history.ts. What scripts do are repairs, because only the
 * engine runs scripts.
 *
 * Values are `<register>=<version>;`. A delete names beside its key or field one that never exists
 * and carries the version: `DEL key tomb=<version>;`, `HDEL key field tomb=<version>;`.
 */
import { once } from 'node:events';
import type { Redis } from 'ioredis';
import type { RegisterEvent } from '../support/history.js';

export function valueAt(register: string, version: number): string {
  return `${register}=${version};`;
}

export function tombstone(version: number): string {
  return valueAt('tomb', version);
}

export interface RegisterMonitor {
  /** All that the server has carried out until now. Ends the recording. */
  finish(): Promise<readonly RegisterEvent[]>;
}

/** @param registers all there are; a field of a hash is `<key>.<field>` */
export async function monitorRegisters(client: Redis, registers: readonly string[]): Promise<RegisterMonitor> {
  const monitor = await client.monitor();
  const events: RegisterEvent[] = [];
  const byKey = new Map<string, string[]>();
  for (const register of registers) {
    const [key] = register.split('.') as [string];
    byKey.set(key, [...(byKey.get(key) ?? []), register]);
  }
  monitor.on('monitor', (time: string, args: string[], from: string) => {
    const by = from === 'lua' ? 'repair' : 'client';
    for (const event of eventsOf(args, byKey)) events.push({ ...event, by, at: Number(time) });
  });
  return {
    async finish() {
      const caughtUp = new Promise<void>((resolve) => {
        monitor.on('monitor', (_time, [name, text]: string[]) => {
          if (name?.toUpperCase() === 'ECHO' && text === 'recorded') resolve();
        });
      });
      await client.echo('recorded');
      await caughtUp;
      const ended = once(monitor, 'end');
      monitor.disconnect();
      await ended;
      return events;
    },
  };
}

type State = Pick<RegisterEvent, 'register' | 'version' | 'present'>;

function eventsOf(args: readonly string[], byKey: ReadonlyMap<string, readonly string[]>): State[] {
  const [name, key, ...rest] = args;
  const ofKey = byKey.get(key ?? '') ?? [];
  const absent = (register: string, text = ''): State => ({
    register,
    version: versionIn('tomb', text),
    present: false,
  });
  switch (name!.toUpperCase()) {
    case 'SET':
    case 'RESTORE': {
      const text = rest.join(' ');
      return ofKey.map((register) => stateIn(register, text));
    }
    case 'DEL':
    case 'UNLINK':
      return ofKey.map((register) => absent(register, rest[0]));
    case 'HSET':
      return pairsOf(rest).map(([field, value]) => stateIn(`${key}.${field}`, value));
    case 'HDEL': {
      // Of a client: a field and its tombstone. Of a repair: any number of fields.
      const named = rest.map((field) => `${key}.${field}`).filter((register) => ofKey.includes(register));
      return named.map((register) => absent(register, rest.at(-1)));
    }
    default:
      return [];
  }
}

function pairsOf(flat: readonly string[]): [string, string][] {
  return Array.from({ length: flat.length / 2 }, (_, index) => [flat[2 * index]!, flat[2 * index + 1]!]);
}

/** Of a value, or of a DUMP that holds it uncompressed. */
function stateIn(register: string, text: string): State {
  const version = versionIn(register, text);
  return { register, version, present: version !== null };
}

function versionIn(register: string, text: string): number | null {
  const start = text.lastIndexOf(`${register}=`);
  return start < 0 ? null : Number.parseInt(text.slice(start + register.length + 1), 10);
}
