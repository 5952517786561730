/**
 * Worker Versioning of Temporal: a worker gets work only while Temporal takes its release for the
 * current one (or sends it a part, to try). A worker that waits for that in vain says so.
 */
import type { NativeConnection, WorkerOptions } from '@temporalio/worker';
import type { Logger } from 'pino';
import { lookOut } from '../patience/lookout.js';

/** Which release of the workers this is. */
export interface Deployment {
  readonly name: string;
  readonly buildId: string;
}

/**
 * Open workflows go on with the release that is current. Were they pinned to theirs, its workers
 * would have to run for as long as one of its keys is escalated, which can be for ever.
 */
export function versioning(deployment: Deployment | null): Pick<WorkerOptions, 'workerDeploymentOptions'> {
  if (deployment === null) return {};
  const version = { deploymentName: deployment.name, buildId: deployment.buildId };
  return {
    workerDeploymentOptions: { useWorkerVersioning: true, version, defaultVersioningBehavior: 'AUTO_UPGRADE' },
  };
}

type Service = Pick<NativeConnection, 'workflowService' | 'withDeadline'>;

interface WatchOptions {
  readonly connection: Service;
  readonly namespace: string;
  /** null: nothing is to be watched. */
  readonly deployment: Deployment | null;
  readonly logger: Logger;
}

const LOOK_EVERY_MS = 5_000;
const CALL_TIMEOUT_MS = 5_000;

/** A line when this release begins to get work, and one when it gets none. */
export function watchDeployment({ connection, namespace, deployment, logger }: WatchOptions): {
  stop(): Promise<void>;
} {
  if (deployment === null) return { async stop() {} };
  let said: string | null = null;
  const look = async () => {
    const news = await connection
      .withDeadline(Date.now() + CALL_TIMEOUT_MS, () => getsNoWork(connection, namespace, deployment))
      // Temporal is away, or has not heard of the deployment yet.
      .catch(() => said);
    if (news === said) return;
    said = news;
    if (news === '') logger.info(deployment, `build ${deployment.buildId} of ${deployment.name} gets work`);
    else if (news !== null) logger.warn(deployment, news);
  };
  return lookOut(LOOK_EVERY_MS, look);
}

/** @returns why, and what to do, in one line; '': it gets some */
async function getsNoWork(
  { workflowService }: Service,
  namespace: string,
  { name: deploymentName, buildId }: Deployment,
): Promise<string> {
  const { workerDeploymentInfo } = await workflowService.describeWorkerDeployment({ namespace, deploymentName });
  const { currentDeploymentVersion: current, rampingDeploymentVersion: ramping } =
    workerDeploymentInfo?.routingConfig ?? {};
  if (current?.buildId === buildId || ramping?.buildId === buildId) return '';
  const whose = current?.buildId ? `build ${current.buildId} is the current one` : 'no build is the current one';
  return (
    `build ${buildId} of ${deploymentName} gets no work: ${whose}. To make it this one: \`temporal worker deployment ` +
    `set-current-version --deployment-name ${deploymentName} --build-id ${buildId}\``
  );
}
