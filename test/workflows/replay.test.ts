/**
 * Workflows that run while a new version is deployed must go on with it: every history that was
 * ever recorded replays with the code of today, whichever server wrote it. Each folder under
 * `test/histories/` is named after the server of its histories, and has one for each scenario.
 * `RECORD_HISTORIES=1 npx vitest run test/workflows/replay.test.ts` records them anew with the
 * server of the stack, which is right for a new server, and otherwise only for a change that was
 * made safe with `patched`. (protobufjs is a dependency of its own only so that the SDK packages
 * share one copy of it: with two, their conversion of histories to and from JSON fails.)
 */
import { mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { basename, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { historyToJSON } from '@temporalio/common/lib/proto-utils.js';
import { TestWorkflowEnvironment } from '@temporalio/testing';
import { Worker } from '@temporalio/worker';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import * as workflows from '../../workflows/index.js';
import * as messages from '../../workflows/messages.js';
import { until } from '../support/eventually.js';
import { stack } from '../support/services.js';
import {
  type Attempt,
  failedWrite,
  type Handle,
  POLICY,
  retryUnlessDone,
  Script,
  type StartOptions,
  withScript,
  workflowBundle,
} from '../support/workflow-bed.js';
import { OTHER_TYPES } from './other-types.js';

const FOLDER = fileURLToPath(new URL('../histories/', import.meta.url));
const AWAY = { fail: 'TargetUnavailable' } as const;
const PERMANENT = { fail: 'NoPermission', permanent: true } as const;
const FAST = { ...POLICY, settleMs: 50, retry: { ...POLICY.retry, maximumAttempts: 3, initialIntervalMs: 20 } };

interface Scenario {
  readonly attempts: Attempt[];
  readonly start?: () => StartOptions;
  readonly during?: (handle: Handle, script: Script) => Promise<unknown>;
}

const escalated = (handle: Handle) => until(async () => (await handle.query(messages.status)).state === 'escalated');

const SCENARIOS: Record<string, Scenario> = {
  'heals-at-once': { attempts: ['repaired'] },
  'heals-after-retries': { attempts: [AWAY, AWAY, 'repaired'] },
  'settles-and-is-verified': {
    attempts: ['repaired', 'repaired', 'equal'],
    start: () => ({ events: [failedWrite({ outcome: 'unknown', failedAt: new Date().toISOString() })] }),
  },
  'escalates-and-is-retried': {
    attempts: [AWAY, AWAY, AWAY, 'repaired'],
    during: async (handle) => {
      await escalated(handle);
      await handle.signal(messages.failedWrites, [failedWrite({ command: 'SADD', members: ['a'] })]);
      await handle.signal(messages.retry);
    },
  },
  'escalates-and-is-skipped': {
    attempts: [PERMANENT],
    during: async (handle) => {
      await escalated(handle);
      await handle.signal(messages.skip, { reason: 'recorded' });
    },
  },
  'escalates-and-is-skipped-in-a-task-of-its-own': {
    attempts: [PERMANENT],
    during: async (handle) => {
      await escalated(handle);
      await handle.signal(messages.skip, { reason: 'recorded' });
    },
  },
  'escalates-and-heals-by-the-slow-retry': {
    attempts: [PERMANENT, PERMANENT, 'repaired'],
    start: () => ({ policy: { ...FAST, escalation: { retryEveryMs: 200 } } }),
  },
  'answers-an-update-while-escalated': {
    attempts: [PERMANENT, PERMANENT, 'equal'],
    during: async (handle) => {
      await escalated(handle);
      await handle.executeUpdate(messages.reconcileNow, { args: [{}] }).catch(() => {});
      await handle.executeUpdate(messages.reconcileNow, { args: [{}] });
    },
  },
  'is-deferred-by-the-budget': {
    attempts: [{ defer: 50 }, AWAY, { defer: 50, wrote: true }, 'equal'],
  },
  'continues-as-new': {
    attempts: [AWAY],
    start: () => ({ policy: { ...FAST, retry: { ...FAST.retry, maximumAttempts: 1_000 } }, historyEventsPerRun: 30 }),
    during: async (handle, script) => {
      for (let i = 0; i < 40; i++) await handle.signal(messages.failedWrites, [failedWrite()]);
      script.attempts = ['equal'];
      await retryUnlessDone(handle);
    },
  },
};

if (process.env.RECORD_HISTORIES) {
  describe('recording', () => {
    let env: TestWorkflowEnvironment;
    let folder: string;
    beforeAll(async () => {
      env = await TestWorkflowEnvironment.createFromExistingServer({ address: stack().temporal.address });
      const { serverVersion } = await env.connection.workflowService.getSystemInfo({});
      folder = join(FOLDER, `server-${serverVersion}`);
      mkdirSync(folder, { recursive: true });
    });
    afterAll(() => env?.teardown());

    it.each(Object.entries(SCENARIOS))('%s', async (name, { attempts, start: options, during }) => {
      const script = new Script(env, ...attempts);
      await withScript(script, async (start) => {
        const handle = await start({ policy: FAST, ...options?.() });
        const { runId } = await env.client.workflow.getHandle(handle.workflowId).describe();
        await during?.(handle, script);
        await env.client.workflow.getHandle(handle.workflowId).result();
        const history = await env.client.workflow.getHandle(handle.workflowId, runId).fetchHistory();
        keep(name, history);
      });
    });

    it.each(Object.entries(OTHER_TYPES))('%s', async (name, scenario) => {
      const { activities, start } = scenario();
      const taskQueue = `recorded-${name}`;
      const { nativeConnection: connection, client } = env;
      const worker = await Worker.create({ connection, taskQueue, workflowBundle: workflowBundle(), activities });
      await worker.runUntil(async () => {
        const handle = await start(client.workflow, taskQueue);
        await handle.result();
        keep(name, await handle.fetchHistory());
      });
    });

    function keep(name: string, history: Parameters<typeof historyToJSON>[0]): void {
      writeFileSync(join(folder, `${name}.json`), `${withoutStackTraces(historyToJSON(history))}\n`);
    }
  });
}

/** They name folders of the machine that recorded, and replay does not look at them. */
function withoutStackTraces(history: string): string {
  return JSON.stringify(JSON.parse(history), (key, value) => (key === 'stackTrace' ? '' : value), 2);
}

const SERVERS = readdirSync(FOLDER).sort((one, other) => one.localeCompare(other, 'en', { numeric: true }));

it('every scenario was recorded with the newest server, and every type of workflow has one', () => {
  const folder = join(FOLDER, SERVERS.at(-1)!);
  const files = readdirSync(folder);
  const scenarios = [...Object.keys(SCENARIOS), ...Object.keys(OTHER_TYPES)];
  expect(scenarios.filter((name) => !files.includes(`${name}.json`))).toEqual([]);
  const types = files.map((file) => {
    const { events } = JSON.parse(readFileSync(join(folder, file), 'utf8')) as { events: RecordedStart[] };
    return events[0]!.workflowExecutionStartedEventAttributes.workflowType.name;
  });
  expect(new Set(types)).toEqual(new Set(Object.keys(workflows)));
});

interface RecordedStart {
  readonly workflowExecutionStartedEventAttributes: { readonly workflowType: { readonly name: string } };
}

describe.each(SERVERS)('replay of %s', (server) => {
  const names = readdirSync(join(FOLDER, server)).map((file) => basename(file, '.json'));

  it.each(names)('%s goes the way that was recorded', async (name) => {
    const history = JSON.parse(readFileSync(join(FOLDER, server, `${name}.json`), 'utf8')) as unknown;
    await Worker.runReplayHistory({ workflowBundle: workflowBundle() }, history);
  });
});
