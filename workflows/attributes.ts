/**
 * The search attributes of an escalated key. They are for whoever looks for it: one that is missing
 * or of another type makes Temporal refuse the whole task, again and again, so the workflow asks in
 * the same task whether they can be written. When Temporal refuses nevertheless, the next attempt
 * at the task asks anew, for nothing of the refused one is kept.
 * docs/decisions/0011-search-attributes.md
 */
import { proxyLocalActivities, upsertSearchAttributes } from '@temporalio/workflow';
import type { Activities, EscalationLook, EscalationSight } from './activities.js';
import type { KeyRun } from './key-run.js';
import { type LastError, SEARCH_ATTRIBUTES } from './messages.js';
import { NO_ATTRIBUTES, type ShownAttributes } from './run-state.js';

const { usableAttributes } = proxyLocalActivities<Pick<Activities, 'usableAttributes'>>({
  startToCloseTimeout: '5 seconds',
  // A worker that stands still for a moment must not leave a key that nobody finds.
  retry: { maximumAttempts: 4, initialInterval: '100 milliseconds' },
  summary: 'which search attributes can be written; of an escalated key what both sides have',
});

/** Escalates, or goes on being escalated with another error. */
export async function escalate(run: KeyRun, error: LastError): Promise<void> {
  const isNew = run.escalation === 'none';
  run.escalate(error);
  const wanted = { state: 'escalated', error: error.type };
  if (!run.isOfEarlierVersion) return show(run, wanted, run.escalationLook());
  // There nobody asked.
  if (isNew) upsert(run, { state: 'escalated' });
}

export async function leaveEscalated(run: KeyRun): Promise<void> {
  // What could not be removed earlier is tried again.
  const showsNothing = run.shown.state === null && run.shown.error === null;
  if (run.escalation === 'none' && (run.isOfEarlierVersion || showsNothing)) return;
  run.leaveEscalated();
  if (!run.isOfEarlierVersion) return show(run, NO_ATTRIBUTES);
  upsert(run, { state: null });
}

async function show(run: KeyRun, wanted: ShownAttributes, look?: EscalationLook): Promise<void> {
  const names = (['state', 'error'] as const).filter((name) => wanted[name] !== run.shown[name]);
  if (names.length === 0) return;
  const sight = await usableAttributes(look).then(asSight, (): EscalationSight => ({ usable: [] }));
  if (look !== undefined) run.noteSight(sight);
  const writable = names.filter((name) => sight.usable.includes(SEARCH_ATTRIBUTES[name]));
  upsert(run, Object.fromEntries(writable.map((name) => [name, wanted[name]])));
}

/** A history of an earlier version has the names alone. */
function asSight(answer: readonly string[] | EscalationSight): EscalationSight {
  return 'usable' in answer ? answer : { usable: answer };
}

function upsert(run: KeyRun, values: Partial<ShownAttributes>): void {
  const updates = Object.entries(values).map(([name, value]) => ({
    key: { name: SEARCH_ATTRIBUTES[name as keyof ShownAttributes], type: 'KEYWORD' as const },
    value,
  }));
  if (updates.length > 0) upsertSearchAttributes(updates);
  run.shown = { ...run.shown, ...values };
}
