/** What finds the workflows of ours of one type that are open. */
export function openRuns(type: string, taskQueue: string): string {
  return `WorkflowType = ${quoted(type)} AND TaskQueue = ${quoted(taskQueue)} AND ExecutionStatus = "Running"`;
}

/** A value in a query of Temporal's list. */
export function quoted(value: string): string {
  return `"${value.replace(/["\\]/g, '\\$&')}"`;
}
