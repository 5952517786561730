/** What finds the workflows of ours of one type, or of some, that are open. */
export function openRuns(type: string | readonly string[], taskQueue: string): string {
  const types = [type].flat().map(quoted).join(', ');
  return `WorkflowType IN (${types}) AND TaskQueue = ${quoted(taskQueue)} AND ExecutionStatus = "Running"`;
}

/** A value in a query of Temporal's list. */
export function quoted(value: string): string {
  return `"${value.replace(/["\\]/g, '\\$&')}"`;
}
