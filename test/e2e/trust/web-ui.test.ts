/**
 * On call with the Temporal Web UI alone: what an escalated key shows, and the signal that heals
 * it. `KEYMEND_SCREENSHOTS=1 npx vitest run test/e2e/trust/web-ui.test.ts` takes the pictures of
 * docs/operations.md anew.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { type Browser, chromium, type Locator, type Page } from 'playwright-core';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { provideChromium } from '../../../src/stack/programs/index.js';
import { type ErrorType, nextStep } from '../../../workflows/error-types.js';
import { NET_MS, until } from '../../support/eventually.js';
import { createSandbox, recordOf, type Sandbox } from '../../support/keymend.js';
import { describeWith, stack } from '../../support/services.js';

const TAKES_PICTURES = process.env.KEYMEND_SCREENSHOTS === '1';
const PICTURES = new URL('../../../docs/images/', import.meta.url);
const CHROMIUM_ARGS = [
  '--headless',
  '--no-sandbox',
  '--disable-gpu',
  '--disable-quic',
  '--no-first-run',
  '--disable-background-networking',
  '--disable-component-update',
  '--disable-sync',
];
const USER = 'keymend';

interface Incident {
  readonly error: ErrorType;
  readonly key: string;
  cause?(target: Sandbox['target']): Promise<unknown>;
  mend?(target: Sandbox['target']): Promise<unknown>;
  readonly record?: object;
  /** Goes on while the key is tried. */
  meanwhile?(target: Sandbox['target'], key: string, isOver: () => boolean): Promise<void>;
}

const INCIDENTS: readonly Incident[] = [
  {
    error: 'TargetReadOnly',
    key: 'user:42',
    cause: ({ client }) => client.replicaof('127.0.0.1', '1'),
    mend: ({ client }) => client.replicaof('NO', 'ONE'),
  },
  {
    error: 'NoPermission',
    key: 'cart:7',
    cause: ({ client }) => client.call('ACL', 'SETUSER', USER, '-restore'),
    mend: ({ client }) => client.call('ACL', 'SETUSER', USER, '+restore'),
  },
  {
    error: 'Contended',
    key: 'counter:visits',
    record: { outcome: 'unknown' },
    // Another writer of the target, who puts right what is repaired.
    async meanwhile({ client }, key, isOver) {
      while (!isOver()) {
        if ((await client.get(key)) === 'new') await client.set(key, 'other');
        await sleep(5);
      }
    },
  },
];

await describeWith('the Temporal Web UI alone', provideChromium, (executablePath) => {
  let sandbox: Sandbox;
  let browser: Browser;
  let page: Page;
  let prefix: string;

  beforeAll(async () => {
    sandbox = await createSandbox();
    // A picture shows keys as a person has them.
    prefix = TAKES_PICTURES ? '' : sandbox.prefix;
    const { target } = sandbox;
    await target.client.call('ACL', 'SETUSER', USER, 'on', '>secret', '~*', '+@all');
    sandbox.configure({
      link: {
        workflowIdPrefix: prefix,
        target: { url: `redis://${USER}:secret@127.0.0.1:${target.port}` },
        settle: '500ms',
        retry: { maximumAttempts: 2, initialInterval: '10ms' },
      },
    });
    await sandbox.start('start');
    browser = await chromium.launch({ executablePath, args: CHROMIUM_ARGS });
    page = await browser.newPage({ viewport: { width: 1280, height: 900 } });
    page.setDefaultTimeout(NET_MS);
  });
  afterAll(async () => {
    await browser?.close();
    await sandbox?.close();
  });

  const handleOf = (key: string) => sandbox.client.workflow.getHandle(prefix + key);

  const runOf = (key: string) =>
    handleOf(key)
      .describe()
      .catch(() => undefined);

  async function state(key: string): Promise<unknown> {
    const run = await runOf(key);
    return run?.status.name === 'RUNNING' ? run.searchAttributes.KeymendState?.[0] : run?.status.name;
  }

  /** Breaks it, and lets writes of the key fail that way until it is given up on. */
  async function escalate({ key, record, cause, meanwhile }: Incident): Promise<void> {
    const { source, target, producer, topic } = sandbox;
    await source.client.set(key, 'new');
    await cause?.(target);
    let isOver = false;
    const holding = meanwhile?.(target, key, () => isOver);
    try {
      // Once more where whoever stands in its way was too slow.
      while ((await state(key)) !== 'escalated') {
        const before = (await runOf(key))?.runId;
        await producer.send({ topic, messages: [recordOf(key, record)] });
        await until(async () => {
          const isEnded = ['escalated', 'COMPLETED'].includes(`${await state(key)}`);
          return isEnded && (await runOf(key))?.runId !== before;
        });
      }
    } finally {
      isOver = true;
      await holding;
    }
  }

  async function openList(): Promise<void> {
    const query = encodeURIComponent('KeymendState = "escalated" AND ExecutionStatus = "Running"');
    await page.goto(`${stack().temporal.ui}/namespaces/default/workflows?query=${query}`);
  }

  /** As docs/operations.md says it, in a list that has a row. The browser keeps them. */
  async function configureColumns(): Promise<void> {
    if ((await page.getByRole('columnheader', { name: 'KeymendError' }).count()) > 0) return;
    await shown(page.getByRole('button', { name: 'Configure Columns' })).click();
    for (const name of ['Add KeymendState', 'Add KeymendError', 'Remove Run ID', 'Remove End'])
      await shown(page.getByRole('button', { name: `${name} column` })).click();
    await shown(page.getByRole('button', { name: 'Close Workflows Table configuration' })).click();
  }

  async function open(key: string, tab: string): Promise<void> {
    const { runId } = await handleOf(key).describe();
    const id = encodeURIComponent(prefix + key);
    await page.goto(`${stack().temporal.ui}/namespaces/default/workflows/${id}/${runId}/${tab}`);
  }

  /** Markdown is shown in frames of their own: the summary's and the details'. */
  async function framesText(): Promise<string> {
    const texts = page.frames().map((frame) =>
      frame
        .locator('body')
        .textContent({ timeout: 1_000 })
        .catch(() => ''),
    );
    return (await Promise.all(texts)).join('\n');
  }

  /** The page holds a second copy of some of its parts for narrow windows. */
  function shown(locator: Locator): Locator {
    return locator.filter({ visible: true }).first();
  }

  async function picture(name: string): Promise<void> {
    if (!TAKES_PICTURES) return;
    await page.screenshot({ path: fileURLToPath(new URL(`${name}.png`, PICTURES)), animations: 'disabled' });
  }

  /** @throws TimeoutError when something can't be clicked */
  async function sendRetry(): Promise<void> {
    const soon = { timeout: 15_000 };
    await page.getByRole('button', { name: 'More Actions' }).click(soon);
    await page.getByRole('menuitem', { name: 'Send a Signal' }).click(soon);
    await shown(page.getByTestId('signal-select-button')).click(soon);
    await shown(page.getByRole('option', { name: 'retry Try again now' })).click(soon);
    await picture('send-retry');
    await shown(page.getByRole('button', { name: 'Submit', exact: true })).click(soon);
  }

  it.each(INCIDENTS)(
    'shows of $error its state and error, the key, the next step and its command, and sends the signal that heals',
    async (incident) => {
      const { error, key, mend } = incident;
      await escalate(incident);
      await openList();
      const row = shown(page.getByRole('row').filter({ has: page.getByRole('link', { name: prefix + key }) }));
      await row.waitFor();
      await configureColumns();
      for (const cell of ['escalated', error]) await row.getByRole('cell', { name: cell, exact: true }).waitFor();
      await picture('escalated-keys');

      await open(key, 'user-metadata');
      const step = `${error}. Next step: ${nextStep(error).replaceAll('`', '')}`;
      await until(async () => (await framesText()).includes(step));
      expect(await framesText()).toContain(`npx keymend retry --link east-to-west ${key}`);
      await picture(error);

      await mend?.(sandbox.target);
      // The page draws its parts anew while it loads, and forgets a click that came too early.
      await until(async () => {
        await open(key, 'history');
        return sendRetry().then(
          () => true,
          () => false,
        );
      });
      await until(async () => (await state(key)) === 'COMPLETED');
      expect(await sandbox.target.client.get(key)).toBe('new');
    },
  );
});
