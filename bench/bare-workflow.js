/** The least that a workflow can be: signalled with its start, and done; or one local activity. */
import { defineSignal, proxyLocalActivities, setHandler } from '@temporalio/workflow';

const { nothing } = proxyLocalActivities({ startToCloseTimeout: '5s' });

export async function bare() {
  setHandler(defineSignal('failedWrites'), () => {});
}

export async function bareWithActivity() {
  setHandler(defineSignal('failedWrites'), () => {});
  await nothing();
}
