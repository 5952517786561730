/** What a worker does with an escalation: the log, the letter, whoever else is told. */
import { ApplicationFailure } from '@temporalio/common';
import { expect, it } from 'vitest';
import type { Tries } from '../../activities/escalation.js';
import { LETTERS_AT_ONCE } from '../../activities/slots.js';
import type { DeadLetter } from '../../src/events/dead-letter.js';
import type { DeadLetters, EarlierTry } from '../../src/events/dead-letters.js';
import { publishingEscalations } from '../../src/worker/escalations.js';
import type { EscalateRequest, Letter } from '../../workflows/activities.js';
import { type LogLine, loggerInto } from '../bridge/bridge-bed.js';
import { failedWrite } from '../support/workflow-bed.js';

const RUN = { workflowId: 'user:42', runId: 'run' };

/** Dead letters that only remember what they are asked for, and who is told besides. */
function bed({ knowsEnds = true } = {}) {
  const published: { letter: DeadLetter; earlier: EarlierTry | undefined }[] = [];
  const notified: string[] = [];
  const noted: unknown[] = [];
  const logs: LogLine[] = [];
  const state = { isAway: false, isDeaf: false, taking: Promise.resolve() };
  const deadLetters: DeadLetters = {
    kind: 'topic',
    async publish(letter, earlier) {
      await state.taking;
      if (state.isAway) throw new Error('Kafka is away');
      published.push({ letter, earlier });
    },
    ...(knowsEnds && { ends: async () => ['7'] }),
    close: async () => {},
  };
  const notify = async ({ error }: EscalateRequest) => {
    if (state.isDeaf) throw new Error('Temporal is away');
    notified.push(error.type);
  };
  const counted: string[] = [];
  const metrics = {
    escalated: (link: string, error: string) => void counted.push(`escalated ${link} ${error}`),
    deadLettered: (reason: string) => void counted.push(`letter ${reason}`),
  };
  const links = ['east-to-west', 'other'];
  const publish = publishingEscalations({ links, deadLetters, notify, metrics, logger: loggerInto(logs) });
  const attempt = (letter: Letter | undefined, tries: Partial<Tries> = {}, type = 'Contended', link = links[0]!) =>
    publish(
      {
        event: failedWrite({ link }),
        error: { type, message: 'as scripted', stage: 'write' },
        attempts: 8,
        firstFailedAt: '2026-11-20T23:00:00.000Z',
        lastFailedAt: '2026-11-20T23:00:00.000Z',
        letter,
      },
      RUN,
      { attempt: 1, noted: undefined, note: (end) => void noted.push(end), ...tries },
    );
  return {
    publish,
    attempt,
    published,
    notified,
    noted,
    logs,
    state,
    counted,
    earlier: () => published.map(({ earlier }) => earlier),
  };
}

it('a first try looks for nothing, whether or not the end is known', async () => {
  const { attempt, earlier, published, notified } = bed();
  await attempt({ id: 'run/1', behind: ['5'] });
  await attempt({ id: 'run/2' });
  expect(earlier()).toEqual([undefined, undefined]);
  expect(published.map(({ letter }) => letter.headers['dlq.letter.id'])).toEqual(['run/1', 'run/2']);
  expect(notified).toEqual(['Contended', 'Contended']);
});

it('a further try, and that of another run, looks behind the end that was known before the first', async () => {
  const { attempt, earlier } = bed();
  await attempt({ id: 'run/1', behind: ['5'] }, { attempt: 2 });
  await attempt({ id: 'run/2', behind: ['5'], mayBeThere: true });
  expect(earlier()).toEqual([{ behind: ['5'] }, { behind: ['5'] }]);
});

it('where no end was known a try notes it before it publishes, for the one behind it', async () => {
  const { attempt, earlier, noted, state } = bed();
  state.isAway = true;
  await expect(attempt({ id: 'run/1' })).rejects.toThrow('Kafka is away');
  expect(noted).toEqual([['7']]);
  state.isAway = false;
  await attempt({ id: 'run/1' }, { attempt: 2, noted: ['7'] });
  expect(earlier()).toEqual([{ behind: ['7'] }]);
});

it('dead letters that know a letter by themselves are asked for no end', async () => {
  const { attempt, earlier, noted } = bed({ knowsEnds: false });
  await attempt({ id: 'run/1' }, { attempt: 2 });
  expect([earlier(), noted]).toEqual([[undefined], []]);
});

it('who could not be told is told by the next try, which publishes no second letter', async () => {
  const { attempt, published, notified, state } = bed();
  state.isDeaf = true;
  await expect(attempt({ id: 'run/1', behind: ['5'] })).rejects.toThrow('Temporal is away');
  state.isDeaf = false;
  await attempt({ id: 'run/1', behind: ['5'] }, { attempt: 2 });
  expect([published.length, notified.length]).toEqual([1, 1]);
});

it('a key of a batch whose link nobody knows has a letter that says so: no workflow of it is escalated', async () => {
  const { publish, published, counted, notified } = bed();
  const error = { type: 'UnknownLink', message: 'as scripted', stage: 'signal' } as const;
  const at = '2026-11-20T23:00:00.000Z';
  await publish({ event: failedWrite(), error, attempts: 1, firstFailedAt: at, lastFailedAt: at }, RUN);
  expect([published[0]!.letter.headers['dlq.reason'], counted]).toEqual(['unknown-link', ['letter unknown-link']]);
  expect(notified).toEqual([]);
});

it('an escalated key whose link nobody knows is counted as one', async () => {
  const { attempt, published } = bed();
  await attempt({ id: 'run/1' }, {}, 'UnknownLink');
  expect(published[0]!.letter.headers['dlq.reason']).toBe('attempts-exhausted');
});

it('what a person has cancelled is a letter, and no news', async () => {
  const { attempt, published, notified } = bed();
  await attempt({ id: 'run/1' }, {}, 'Cancelled');
  expect([published.length, notified.length]).toEqual([1, 0]);
});

it('the log has one line, however often it is tried', async () => {
  const { attempt, logs, state } = bed();
  state.isAway = true;
  for (const number of [1, 2, 3]) await attempt({ id: 'run/1' }, { attempt: number }).catch(() => {});
  expect(logs.map(({ msg }) => msg)).toEqual([expect.stringMatching(/^escalated: as scripted\. The key changes/)]);
});

it('who else is told hears of it also while the dead letters take nothing, and once', async () => {
  const { attempt, published, notified, state } = bed();
  state.isAway = true;
  await expect(attempt({ id: 'run/1', behind: ['5'] })).rejects.toThrow('Kafka is away');
  await expect(attempt({ id: 'run/1', behind: ['5'] }, { attempt: 2 })).rejects.toThrow('Kafka is away');
  expect([published.length, notified.length]).toEqual([0, 1]);
  state.isAway = false;
  await attempt({ id: 'run/1', behind: ['5'] }, { attempt: 3 });
  expect([published.length, notified.length]).toEqual([1, 1]);
});

it('what is no escalation is told to nobody else', async () => {
  const { attempt, notified } = bed();
  await attempt({ id: 'run/1' }, {}, 'WorkflowIdTaken');
  await attempt({ id: 'run/2' }, {}, 'Cancelled');
  expect(notified).toEqual([]);
});

it('an escalation is counted once, however often it is tried, and its letter when it is there', async () => {
  const { attempt, state, counted } = bed();
  state.isAway = true;
  await expect(attempt({ id: 'one' })).rejects.toThrow();
  expect(counted).toEqual(['escalated east-to-west Contended']);
  state.isAway = false;
  await attempt({ id: 'one' }, { attempt: 2 });
  expect(counted).toEqual(['escalated east-to-west Contended', 'letter attempts-exhausted']);
  await attempt({ id: 'two' }, {}, 'Cancelled');
  expect(counted.slice(2)).toEqual(['letter cancelled']);
});

it('who finds all slots of its link taken by letters that hang fails at once, waits as its workflow says, and is heard of', async () => {
  const { attempt, published, notified, state } = bed();
  let letGo = () => {};
  state.taking = new Promise((resolve) => {
    letGo = resolve;
  });
  const hanging = Array.from({ length: LETTERS_AT_ONCE }, (_, n) => attempt({ id: `hanging/${n}` }));
  for (const number of [1, 4]) {
    const failure = await attempt({ id: 'one/1' }, { attempt: number }).catch((error: unknown) => error);
    expect(failure).toBeInstanceOf(ApplicationFailure);
    expect(failure).toMatchObject({ type: 'DeadLettersBusy', nonRetryable: false, nextRetryDelay: undefined });
  }
  expect(notified).toHaveLength(LETTERS_AT_ONCE + 1);
  const ofOther = attempt({ id: 'other/1' }, {}, 'Contended', 'other');
  letGo();
  await Promise.all([...hanging, ofOther]);
  await attempt({ id: 'one/1' }, { attempt: 5 });
  expect(published).toHaveLength(LETTERS_AT_ONCE + 2);
});
