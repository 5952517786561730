/** The least that a workflow can be: signalled with its start, and done. */
import { defineSignal, setHandler } from '@temporalio/workflow';

export async function bare() {
  setHandler(defineSignal('failedWrites'), () => {});
}
