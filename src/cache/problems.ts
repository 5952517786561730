/** What the application is told of. */
import { messageOf } from '../patience/outage.js';

type OnProblem = (error: Error) => void;

/** The same, but what it throws is no trouble of ours: a warning of the process tells of it. */
export function guarded(onProblem: OnProblem): OnProblem {
  return (error) => {
    try {
      onProblem(error);
    } catch (thrown) {
      process.emitWarning(`onProblem throws: ${messageOf(thrown)}`, 'KeymendWarning');
    }
  };
}
