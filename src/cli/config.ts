/** `keymend config check` */
import { Command } from 'commander';
import { pino } from 'pino';
import type { Config } from '../config.js';
import { checkKafka } from '../events/kafka-check.js';
import { connectRedis } from '../redis/index.js';
import { connectClient, type TemporalTarget } from '../temporal/connect.js';
import { globalOptions, print, readConfig, VerbError } from './context.js';

interface Check {
  readonly what: string;
  /** null: all is well. */
  readonly problem: string | null;
}

export function configCommand(): Command {
  return new Command('config').description('About the configuration').addCommand(
    new Command('check')
      .description('Read the configuration, then reach every service that it names')
      .action(async (_options: unknown, command: Command) => {
        const global = globalOptions(command);
        const { config, temporal } = readConfig(global);
        const checks = await checkServices(config, temporal);
        const failed = checks.filter(({ problem }) => problem !== null);
        print(global, { ok: failed.length === 0, checks }, () =>
          checks.map(({ what, problem }) => (problem === null ? `ok      ${what}` : `FAILED  ${problem}`)).join('\n'),
        );
        if (failed.length > 0) throw new VerbError(`${failed.length} of ${checks.length} checks failed`);
      }),
  );
}

async function checkServices(config: Config, temporal: TemporalTarget): Promise<Check[]> {
  const checks: Promise<Check>[] = [
    check(`Temporal at ${temporal.address}, namespace ${temporal.namespace}`, async () => {
      await (await connectClient(temporal)).connection.close();
    }),
  ];
  if (config.intake === 'kafka') {
    const { kafka } = config;
    checks.push(check(`Kafka at ${kafka.brokers.join(', ')}`, () => checkKafka(kafka, pino({ level: 'silent' }))));
  }
  for (const link of config.links) {
    for (const side of ['source', 'target'] as const) {
      const name = `${side} of link ${link.name}`;
      checks.push(
        check(name, async () => {
          const port = connectRedis(link[side], { name, commandTimeoutMs: 5_000 });
          const silent = await port.check().finally(() => port.close());
          if (silent.length > 0) throw new Error(silent.map(({ message }) => message).join('; '));
        }),
      );
    }
  }
  return Promise.all(checks);
}

async function check(what: string, reach: () => Promise<void>): Promise<Check> {
  try {
    await reach();
    return { what, problem: null };
  } catch (error) {
    return { what, problem: (error as Error).message };
  }
}
