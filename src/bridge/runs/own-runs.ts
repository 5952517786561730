/**
 * Whether the run that took a signal is one of ours. A workflow of somebody else under the ID of a
 * key takes any signal, and repairs nothing.
 */
import { WorkflowClient } from '@temporalio/client';
import { WORKFLOW_TYPE } from '../../../workflows/messages.js';

/** The part of Temporal's client that the bridge needs. */
export type SignalClient = Pick<WorkflowClient, 'signalWithStart' | 'withDeadline'>;

/** What a run is, if it is not ours. */
export interface ForeignRun {
  readonly type: string;
  readonly taskQueue: string;
}

interface ObservedClient extends SignalClient {
  /**
   * Costs a call only for a run that this process has neither started nor asked about.
   * @returns null for a run of ours
   * @throws what the client throws when Temporal does not answer
   */
  foreignRun(workflowId: string, runId: string): Promise<ForeignRun | null>;
}

/** Runs are asked about again when they have not been met for so many others. */
const MOST_KNOWN = 10_000;

/** @param taskQueue whose workers read the runs that are ours */
export function observing(client: SignalClient, taskQueue: string, ofType: string = WORKFLOW_TYPE): ObservedClient {
  // A stand-in for a client tells nothing of its runs.
  if (!(client instanceof WorkflowClient)) {
    return {
      signalWithStart: client.signalWithStart,
      withDeadline: client.withDeadline,
      foreignRun: async () => null,
    };
  }
  const known = new Map<string, ForeignRun | null>();
  const remember = (runId: string, run: ForeignRun | null) => {
    known.delete(runId);
    known.set(runId, run);
    if (known.size > MOST_KNOWN) known.delete(known.keys().next().value!);
    return run;
  };
  const noting = startsNoted(client, (runId) => remember(runId, null));
  return {
    signalWithStart: noting.signalWithStart.bind(noting),
    withDeadline: noting.withDeadline.bind(noting),
    async foreignRun(workflowId, runId) {
      const met = known.get(runId);
      if (met !== undefined) return remember(runId, met);
      const run = await client.getHandle(workflowId, runId).describe();
      return remember(runId, foreignRunOf(run, taskQueue, ofType));
    },
  };
}

/**
 * @param taskQueue whose workers read the runs that are ours
 * @returns null for a run of ours
 */
export function foreignRunOf(
  { type, taskQueue: itsQueue }: ForeignRun,
  taskQueue: string,
  ofType: string = WORKFLOW_TYPE,
): ForeignRun | null {
  return type === ofType && itsQueue === taskQueue ? null : { type, taskQueue: itsQueue };
}

/**
 * The same client, which tells of each run that it has started. Temporal says so in its answer, but
 * what the client makes of that does not.
 */
function startsNoted(client: WorkflowClient, onStart: (runId: string) => void): WorkflowClient {
  type Service = WorkflowClient['connection']['workflowService'];
  type Send = (
    request: Parameters<Service['signalWithStartWorkflowExecution']>[0],
  ) => ReturnType<Service['signalWithStartWorkflowExecution']>;
  const { workflowService } = client.connection;
  const send: Send = async (request) => {
    const response = await workflowService.signalWithStartWorkflowExecution(request);
    if (response.started) onStart(response.runId);
    return response;
  };
  const noting = Object.create(workflowService, { signalWithStartWorkflowExecution: { value: send } }) as Service;
  const connection = Object.create(client.connection, { workflowService: { value: noting } });
  return new WorkflowClient({ ...client.options, connection });
}

/** Why a key whose ID such a run has can't be told of, and what to do, for a person. */
export function describeForeignRun({ type, taskQueue }: ForeignRun, link: string): string {
  return (
    `a workflow of type ${type} on task queue ${taskQueue} runs under the ID of this key; it took the signal and repairs ` +
    `nothing. Give keymend a Temporal namespace of its own, or link ${link} a workflowIdPrefix; then redrive`
  );
}
