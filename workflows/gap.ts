/** The workflow `gap`: one for each link that has lost failed writes, open until acknowledged. */
import {
  condition,
  continueAsNew,
  log,
  patched,
  setCurrentDetails,
  setDefaultSignalHandler,
  setHandler,
  workflowInfo,
} from '@temporalio/workflow';
import {
  type AcknowledgeRequest,
  acknowledge,
  type Gap,
  type GapInput,
  type GapStatus,
  lost,
  type SweepingRequest,
  status,
  sweeping,
} from './gap-messages.js';
import { SeenIds } from './seen-ids.js';

/** What is kept of them: a topic of many partitions, each told of once. */
const MOST_GAPS = 100;
const MOST_REASON_LENGTH = 1_000;
const MOST_SWEEPS = 10;

export async function gap({ link, carried }: GapInput): Promise<GapStatus> {
  let { gaps, more, records } = carried ?? { gaps: [] as readonly Gap[], more: 0, records: 0 as number | null };
  let reason: string | null = null;
  let unread = 0;
  /** Those under way that began behind all that is known to be lost. */
  let sweeps = carried?.sweeps ?? [];
  const sum = () => ({ gaps, more, records });
  const now = (): GapStatus => ({ link, state: reason === null ? 'open' : 'acknowledged', ...sum(), reason });

  /** Of those that are not kept, the newest. */
  let others = new SeenIds(carried?.others ?? []);
  const isKept = (found: Gap) => gaps.some(({ id }) => id === found.id);
  const isKnown = (found: Gap) => isKept(found) || others.has(found.id);
  const add = (found: Gap) => {
    if (isKnown(found)) return;
    records = records === null || found.records === null ? null : records + found.records;
    if (gaps.length < MOST_GAPS) gaps = [...gaps, found];
    else {
      more += 1;
      others.add(found.id);
    }
  };
  setHandler(status, now);
  const onLost = (told: unknown) => {
    const found = (Array.isArray(told) ? told : [told]).map((one) => (isGap(one) ? one : unreadable(++unread)));
    // Told once more, by whoever does not know that it was: a sweep that began meanwhile finds it.
    if (found.every(isKept) && patched('the-same-once-more')) return;
    if (found.every(isKnown) && patched('one-of-the-others-once-more')) return;
    // What comes after somebody's word is nothing that they have seen; nor has a sweep, whose begin
    // was told before.
    sweeps = [];
    if (reason !== null) [gaps, more, records, reason, others] = [[], 0, 0, null, new SeenIds([])];
    for (const one of found) add(one);
    setCurrentDetails(describeGaps(now()));
  };
  const onAcknowledge = (request?: AcknowledgeRequest) => {
    const given = typeof request?.reason === 'string' ? request.reason.trim() : '';
    if (given === '') return log.warn('acknowledge needs { reason }: nothing was closed');
    const { sweepId } = request!;
    if (sweepId !== undefined && !sweeps.includes(sweepId)) return;
    reason = given.slice(0, MOST_REASON_LENGTH);
    setCurrentDetails(describeGaps(now()));
  };
  const onSweeping = (request?: Partial<SweepingRequest>) => {
    const { sweepId, taskQueue = workflowInfo().taskQueue } = request ?? {};
    const isOurs = typeof sweepId === 'string' && taskQueue === workflowInfo().taskQueue;
    if (isOurs) sweeps = [...sweeps, sweepId].slice(-MOST_SWEEPS);
  };
  // First, for it takes what came before this run began in its order; the others do so by name.
  setDefaultSignalHandler((name, ...args) => {
    if (name === lost.name) onLost(args[0]);
    else if (name === sweeping.name) onSweeping(args[0] as SweepingRequest);
    else if (name === acknowledge.name) onAcknowledge(args[0] as AcknowledgeRequest);
  });
  setHandler(lost, onLost, { description: 'Failed writes that are known to be lost, as whoever noticed them says.' });
  setHandler(acknowledge, onAcknowledge, {
    description:
      'Closes the gap. Input: {"reason": "why"}, once both sides were compared. What is lost later opens it again.',
  });
  setHandler(sweeping, onSweeping);
  setCurrentDetails(describeGaps(now()));

  await condition(() => reason !== null || workflowInfo().continueAsNewSuggested);
  const carry = () => ({ ...sum(), sweeps, others: others.toArray() });
  if (reason === null) await continueAsNew<typeof gap>({ link, carried: carry() });
  return now();
}

function isGap(found: unknown): found is Gap {
  const { id, message, noticedAt, records } = (found ?? {}) as Partial<Gap>;
  return [id, message, noticedAt].every((text) => typeof text === 'string') && (records === null || records! >= 0);
}

/** A signal by hand, most likely: what can't be read must neither stop the workflow nor be lost. */
function unreadable(number: number): Gap {
  const noticedAt = new Date().toISOString();
  const message = 'something was told of by the signal `lost`, but not as a gap is told of';
  return {
    id: `unreadable ${number} of ${workflowInfo().runId}`,
    cause: 'unreadable',
    records: null,
    message,
    noticedAt,
  };
}

/** Markdown for the Web UI. */
function describeGaps({ link, state, gaps, more, records, reason }: GapStatus): string {
  const lines = [
    `**${state}** · link \`${link}\``,
    '',
    `Failed writes are lost${records === null ? '' : `, at most ${records}`}: keys of this link may differ, and nothing repairs them.`,
    '',
    ...gaps.map(({ noticedAt, message }) => `- ${noticedAt}: ${escapeMarkdown(message)}`),
  ];
  if (more > 0) lines.push(`- and ${more} more`);
  if (reason === null) {
    lines.push(
      '',
      '**Next step:** `keymend sweep` closes this where it finds both sides equal; or send the signal `acknowledge` with `{"reason": "…"}`.',
    );
  } else {
    lines.push('', `Acknowledged: ${escapeMarkdown(reason)}`);
  }
  return lines.join('\n');
}

function escapeMarkdown(text: string): string {
  return text.replace(/[\\`*_<>[\]#|~]/g, '\\$&').replace(/\s+/g, ' ');
}
