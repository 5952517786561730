/**
 * Runs `reconcileKey` against scripted attempts, for what real Redis can't be made to do on cue.
 */
import { randomUUID } from 'node:crypto';
import { Context } from '@temporalio/activity';
import {
  type Client,
  type WorkflowHandle,
  type WorkflowHandleWithFirstExecutionRunId,
  WorkflowNotFoundError,
} from '@temporalio/client';
import { ApplicationFailure, defaultPayloadConverter } from '@temporalio/common';
import { TestWorkflowEnvironment } from '@temporalio/testing';
import { DefaultLogger, Runtime, Worker, type WorkerOptions, type WorkflowBundlePath } from '@temporalio/worker';
import { afterAll, beforeAll, inject } from 'vitest';
import { provideTimeSkippingServer } from '../../src/stack/programs/index.js';
import type {
  AttemptErrorDetail,
  EscalateRequest,
  EscalationLook,
  EscalationSight,
  LargeReply,
  ReconciledReply,
  ReconcileReply,
  ReconcileRequest,
} from '../../workflows/activities.js';
import {
  type FailedWrite,
  failedWrites,
  type KeyStatus,
  type LinkPolicy,
  type ReconcileKeyInput,
  retry,
  SEARCH_ATTRIBUTES,
  type ShardOutage,
  type SidesSeen,
  type State,
  skip,
  status,
} from '../../workflows/messages.js';
import type { reconcileKey } from '../../workflows/reconcile-key.js';
import type { RunInput } from '../../workflows/run-state.js';
import { askingAgain } from './lost-queries.js';
import { describeWith, stack } from './services.js';
import { startTimeSkipping } from './time-skipping.js';

// Before anything makes the process-wide runtime: attempts that fail on purpose are no news.
Runtime.install({ logger: new DefaultLogger('ERROR') });

export const POLICY: LinkPolicy = {
  settleMs: 1_000,
  verify: 'auto',
  retry: { maximumAttempts: 8, initialIntervalMs: 500, backoffCoefficient: 2, maximumIntervalMs: 30_000 },
  escalation: { retryEveryMs: 15 * 60_000 },
};

const MINUTE_MS = 60_000;

/**
 * Next to its pauses the seconds that a busy machine takes do not count. For a server whose clock
 * runs over them.
 */
export const SLOW_POLICY: LinkPolicy = {
  settleMs: 10 * MINUTE_MS,
  verify: 'auto',
  retry: {
    maximumAttempts: 8,
    initialIntervalMs: 10 * MINUTE_MS,
    backoffCoefficient: 2,
    maximumIntervalMs: 360 * MINUTE_MS,
  },
  escalation: { retryEveryMs: 1_440 * MINUTE_MS },
};

export type Attempt =
  | 'equal'
  | 'repaired'
  | 'large'
  | ({ readonly reply: 'equal' | 'repaired' } & Pick<ReconciledReply, 'lookAgain' | 'earlier' | 'verified'>)
  | ({ readonly reply: 'large' } & Pick<LargeReply, 'wrote' | 'lookAgain'>)
  | {
      readonly fail: string;
      readonly permanent?: boolean;
      readonly stage?: AttemptErrorDetail['stage'];
      readonly wrote?: boolean;
    }
  | { readonly defer: number; readonly wrote?: boolean; readonly outage?: ShardOutage };

export const UNAVAILABLE: Attempt = { fail: 'TargetUnavailable' };

/** A script of attempts. The last one is repeated for ever. */
export class Script {
  readonly requests: { request: ReconcileRequest; at: number; isLocal: boolean }[] = [];
  readonly escalations: EscalateRequest[] = [];
  attempts: Attempt[];
  /** The search attributes that can be written. */
  usable: readonly string[] = Object.values(SEARCH_ATTRIBUTES);
  /** How often nobody can say which those are. */
  unsaid = 0;
  /** What is found out when the key is escalated; `undefined`: as by an earlier version. */
  lettersEnd: readonly string[] | undefined;
  sides: SidesSeen | undefined;
  /** Runs inside each attempt, before it ends. */
  during: (attempt: number) => Promise<void> | void = () => {};

  constructor(
    readonly env: TestWorkflowEnvironment,
    ...attempts: Attempt[]
  ) {
    this.attempts = attempts;
  }

  /**
   * The pauses between the beginnings of the attempts, in minutes of the server's clock, rounded:
   * an attempt looks at that clock a little later than it begins, on a busy machine by as much as
   * seconds.
   */
  pauses(): number[] {
    return this.requests.slice(1).map(({ at }, index) => Math.round((at - this.requests[index]!.at) / MINUTE_MS));
  }

  readonly activities = {
    reconcile: async (request: ReconcileRequest): Promise<ReconcileReply> => {
      const { attempt, isLocal } = Context.current().info;
      const at = await this.env.currentTimeMs();
      this.requests.push({ request, at, isLocal });
      const planned = this.attempts.length > 1 ? this.attempts.shift()! : this.attempts[0]!;
      await this.during(this.requests.length);
      if (planned === 'large') return { outcome: planned };
      if (typeof planned === 'string') return { outcome: planned, summary: planned, attempt };
      if ('reply' in planned) {
        const { reply, ...more } = planned;
        if (reply === 'large') return { outcome: reply, ...more };
        return { outcome: reply, summary: reply, attempt, ...more };
      }
      if ('defer' in planned) {
        const { defer, wrote = false, outage } = planned;
        return { outcome: 'deferred', retryAfterMs: defer, wrote, attempt, ...(outage && { outage }) };
      }
      throw ApplicationFailure.create({
        type: planned.fail,
        message: `${planned.fail} as scripted`,
        nonRetryable: planned.permanent ?? false,
        details: [{ stage: planned.stage ?? 'write', attempt, wrote: planned.wrote } satisfies AttemptErrorDetail],
      });
    },
    escalate: async (request: EscalateRequest): Promise<void> => {
      this.escalations.push(request);
    },
    usableAttributes: async (look?: EscalationLook): Promise<readonly string[] | EscalationSight> => {
      const { usable, lettersEnd, sides } = this;
      if (this.unsaid-- > 0) throw new Error('as scripted');
      if (look === undefined || (lettersEnd ?? sides) === undefined) return usable;
      return { usable, ...(lettersEnd && { lettersEnd }), ...(sides && { sides }) };
    },
  };
}

/**
 * A suite on one server whose clock runs on while a test waits. Its `env` is there once the tests
 * run. What is sent to a workflow must not meet the end of one of its timers: this server refuses
 * a task that cancels a timer which fired meanwhile, and never gives that workflow another one
 * (temporalio/sdk-java#3088). So short pauses are for `onStack`.
 */
export function describeTimeSkipping(
  title: string,
  suite: (server: { readonly env: TestWorkflowEnvironment }) => void,
): Promise<void> {
  return describeWith(title, provideTimeSkippingServer, (executable) => {
    const server = {} as { env: TestWorkflowEnvironment };
    beforeAll(async () => {
      const client = { interceptors: { workflow: [askingAgain(() => server.env.connection)] } };
      server.env = await withSearchAttributes(await startTimeSkipping(executable, client));
    });
    afterAll(() => server.env?.teardown());
    suite(server);
  });
}

/**
 * The stack's server, for a test file: its clock is the machine's, and it does as Temporal does.
 * Its `env` is there once the tests run.
 */
export function onStack(): { readonly env: TestWorkflowEnvironment } {
  const server = {} as { env: TestWorkflowEnvironment };
  beforeAll(async () => {
    server.env = await TestWorkflowEnvironment.createFromExistingServer({
      address: stack().temporal.address,
      client: { interceptors: { workflow: [askingAgain(() => server.env.connection)] } },
    });
  });
  afterAll(() => server.env?.teardown());
  return server;
}

/** Those that the workflow writes. */
async function withSearchAttributes(env: TestWorkflowEnvironment): Promise<TestWorkflowEnvironment> {
  const KEYWORD = 2; // IndexedValueType
  await env.connection.operatorService.addSearchAttributes({
    namespace: 'default',
    searchAttributes: Object.fromEntries(Object.values(SEARCH_ATTRIBUTES).map((name) => [name, KEYWORD])),
  });
  return env;
}

/**
 * Lets the server's clock run until the workflow is in `state`.
 * @param stepMs how far it may run before the state is looked at again
 */
export async function untilState(
  env: TestWorkflowEnvironment,
  handle: Handle,
  state: State,
  stepMs = 100,
): Promise<KeyStatus> {
  for (;;) {
    const current = await handle.query(status);
    if (current.state === state) return current;
    if (current.state === 'done') throw new Error(`the workflow ended without being ${state}`);
    await env.sleep(stepMs);
  }
}

/**
 * Ends a workflow in good order: a terminated one would leave the time-skipping server waiting for
 * its activities.
 */
export async function giveUp(handle: WorkflowHandle): Promise<void> {
  await handle.signal(skip, { reason: 'the test is over' });
  await handle.result();
}

/** Asks for an attempt, of a run that may make one by itself and be done before it is asked. */
export async function retryUnlessDone(handle: WorkflowHandle): Promise<void> {
  await handle.signal(retry).catch((error) => {
    if (!(error instanceof WorkflowNotFoundError)) throw error;
  });
}

/** What the Web UI shows of a workflow as its current details, which it asks for the same way. */
export async function shownOf(handle: WorkflowHandle): Promise<string> {
  return (await handle.query<{ currentDetails: string }>('__temporal_workflow_metadata')).currentDetails;
}

/** The workflow code, bundled once for a test run. */
export function workflowBundle(): WorkflowBundlePath {
  return { codePath: inject('workflowBundle') };
}

export type Handle = WorkflowHandleWithFirstExecutionRunId<typeof reconcileKey>;

/** A worker with scripted activities on its own task queue, for the time of `work`. */
export async function withScript<T>(
  script: Script,
  work: (start: (options?: StartOptions) => Promise<Handle>, taskQueue: string) => Promise<T>,
): Promise<T> {
  const taskQueue = `script-${randomUUID()}`;
  const worker = await workerFor(script, taskQueue);
  return worker.runUntil(() => work((options) => startKey(script.env.client, taskQueue, options), taskQueue));
}

/** A worker with scripted activities that does not run yet. */
export async function workerFor(
  script: Script,
  taskQueue: string,
  options: Partial<WorkerOptions> = {},
): Promise<Worker> {
  return Worker.create({
    connection: script.env.nativeConnection,
    taskQueue,
    workflowBundle: workflowBundle(),
    activities: script.activities,
    ...options,
  });
}

export interface StartOptions {
  readonly events?: readonly FailedWrite[];
  readonly policy?: LinkPolicy;
  readonly historyEventsPerRun?: number;
  readonly startDelayMs?: number;
}

/** Starts the workflow as the bridge does: signalWithStart. */
export async function startKey(client: Client, taskQueue: string, options: StartOptions = {}): Promise<Handle> {
  const events = options.events ?? [failedWrite()];
  const input: ReconcileKeyInput = {
    link: 'east-to-west',
    key: events[0]?.key ?? 'user:42',
    encoding: 'utf8',
    policy: options.policy ?? POLICY,
    version: 3,
    historyEventsPerRun: options.historyEventsPerRun,
  };
  return client.workflow.signalWithStart('reconcileKey', {
    workflowId: `${input.key}-${randomUUID()}`,
    taskQueue,
    args: [input],
    signal: failedWrites,
    signalArgs: [[...events]],
    ...(options.startDelayMs !== undefined && { startDelay: options.startDelayMs }),
  }) as unknown as Promise<Handle>;
}

/** A failed write that needs neither settle nor verification, unless `changes` says otherwise. */
export function failedWrite(changes: Partial<FailedWrite> = {}): FailedWrite {
  return {
    specVersion: 1,
    id: randomUUID(),
    link: 'east-to-west',
    key: 'user:42',
    encoding: 'utf8',
    command: 'SET',
    outcome: 'refused',
    idempotent: true,
    failedAt: '2026-11-20T23:00:00.000Z',
    ...changes,
  };
}

/** What the newest run of a workflow began with. */
export async function inputOf(env: TestWorkflowEnvironment, { workflowId }: WorkflowHandle): Promise<RunInput> {
  const { events } = await env.client.workflow.getHandle(workflowId).fetchHistory();
  const { input } = events![0]!.workflowExecutionStartedEventAttributes!;
  return defaultPayloadConverter.fromPayload<RunInput>(input!.payloads![0]!);
}
