import { expect, it } from 'vitest';
import { errorText } from '../../src/temporal/error-text.js';

it.each([
  ['workflow not found for ID: user:42', 'workflow not found for ID: …'],
  [
    'workflow execution not found for workflow ID "user:42, and so on" and run ID "6f1c"',
    'workflow execution not found for workflow ID … and run ID "6f1c"',
  ],
  [
    'Workflow execution is already running. WorkflowId: user:42, RunId: 6f1c.',
    'Workflow execution is already running. WorkflowId: …, RunId: 6f1c.',
  ],
  ['WorkflowId length exceeds limit.', 'WorkflowId length exceeds limit.'],
])('"%s" is told as "%s": the ID of a workflow is a key', (said, told) => {
  expect(errorText(new Error(`5 NOT_FOUND: ${said}`))).toBe(`NOT_FOUND: ${told}`);
});
