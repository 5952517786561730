/** How long our commands hold a server, as the server itself says. */
import { lastedUs, workedUs } from '../redis/commandstats.js';
import type { RedisServer } from '../support/redis.js';

export interface OurCommand {
  /** Without what differs from run to run: names of temporary keys, points in time. */
  readonly text: string;
  readonly us: number;
}

/** @returns all that took at least 1 ms, the longest first, since `run` began */
export async function commandsOf(
  servers: readonly RedisServer[],
  run: () => Promise<unknown>,
): Promise<OurCommand[][]> {
  const before = await Promise.all(servers.map(begin));
  await run();
  return Promise.all(servers.map((server, index) => commands(server, before[index]!)));
}

/** @returns how long the server had been at work until then */
async function begin(server: RedisServer): Promise<number> {
  const { client } = server;
  await client.config('SET', 'slowlog-log-slower-than', '1000');
  await client.config('SET', 'slowlog-max-len', '10000');
  await client.call('SLOWLOG', 'RESET');
  await client.config('RESETSTAT');
  return workedUs(server);
}

/**
 * On a busy machine commands last longer than the server works. Whoever has waited is let run for
 * some ms before it has to make room, so that the short ones are not concerned: what is too much in
 * all is of the long ones, of each as much as it is long, and is taken out.
 */
async function commands(server: RedisServer, workedBefore: number): Promise<OurCommand[]> {
  const [lasted, worked] = [await lastedUs(server), (await workedUs(server)) - workedBefore];
  const log = (await server.client.call('SLOWLOG', 'GET', '10000')) as [
    number,
    number,
    number,
    string[],
    string,
    string,
  ][];
  const long = log.reduce((sum, [, , us]) => sum + us, 0);
  const excess = Math.max(0, lasted - worked);
  const slower = excess < long ? long / (long - excess) : Math.max(1, lasted / worked);
  return log
    .filter(([, , , , , name]) => name === 'keymend')
    .map(([, , us, args]) => ({ text: textOf(args), us: us / slower }))
    .sort((one, other) => other.us - one.us);
}

/** A script is named by what it is given: the first call of it carries its source. */
function textOf([name, ...args]: readonly string[]): string {
  const given = /^EVAL/i.test(name!) ? ['script', ...args.slice(1)] : [name!, ...args];
  return given
    .map((text) => text.replace(/[0-9a-f]{8}-[0-9a-f-]{27}|\d{13}/g, '…'))
    .join(' ')
    .slice(0, 200);
}

/** Any command is long now and then; one that always is was so in every run. */
const MOST_RUNS = 16;

/**
 * Runs the same thing until no command has held a server as long as `allowedMs` in every run.
 * @returns the longest one, each as in the run that was best for it: its time in ms, its text
 */
export async function longestHold(
  servers: readonly RedisServer[],
  allowedMs: number,
  run: () => Promise<unknown>,
): Promise<{ ms: number; text: string }> {
  let always: ReadonlyMap<string, number> | null = null;
  for (let runs = 1; ; runs++) {
    const found = new Map<string, number>();
    for (const [index, each] of (await commandsOf(servers, run)).entries()) {
      for (const { text, us } of each.toReversed()) found.set(`${index} ${text}`, us);
    }
    const earlier: ReadonlyMap<string, number> = always ?? found;
    always = new Map(
      [...found].flatMap(([text, us]) => (earlier.has(text) ? [[text, Math.min(us, earlier.get(text)!)]] : [])),
    );
    const [text, us] = [...always].reduce((one, other) => (one[1] > other[1] ? one : other), ['', 0]);
    if (us < 1_000 * allowedMs || runs === MOST_RUNS) return { ms: us / 1_000, text };
  }
}
