import { type Browser, chromium, type Locator, type Page } from 'playwright-core';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { provideChromium } from '../../src/stack/index.js';
import { NET_MS } from '../support/eventually.js';
import { createSandbox, recordOf, type Sandbox } from '../support/keymend.js';
import { describeWith, stack } from '../support/services.js';
import { until } from '../support/workflow-bed.js';

await describeWith('the Temporal Web UI', provideChromium, (executablePath) => {
  let sandbox: Sandbox;
  let browser: Browser;
  let page: Page;
  const KEY = 'user:42';

  beforeAll(async () => {
    sandbox = await createSandbox();
    sandbox.configure({ link: { retry: { maximumAttempts: 2, initialInterval: '10ms' } } });
    await sandbox.start('start');
    browser = await chromium.launch({
      executablePath,
      args: [
        '--headless',
        '--no-sandbox',
        '--disable-gpu',
        '--disable-quic',
        '--no-first-run',
        '--disable-background-networking',
        '--disable-component-update',
        '--disable-sync',
      ],
    });
    page = await browser.newPage({ viewport: { width: 1400, height: 1000 } });
    page.setDefaultTimeout(NET_MS);
  });
  afterAll(async () => {
    await browser?.close();
    await sandbox?.close();
  });
  beforeEach(async () => {
    await sandbox.target.client.replicaof('127.0.0.1', '1');
    await sandbox.source.client.set(KEY, 'new');
    await sandbox.producer.send({ topic: sandbox.topic, messages: [recordOf(KEY)] });
    await until(async () => (await state()) === 'escalated');
  });

  async function state(): Promise<unknown> {
    const found = await handle()
      .describe()
      .catch(() => undefined);
    return found?.status.name === 'RUNNING' ? found.searchAttributes.KeymendState?.[0] : found?.status.name;
  }

  function handle() {
    return sandbox.client.workflow.getHandle(sandbox.prefix + KEY);
  }

  async function open(tab: string): Promise<void> {
    const { runId } = await handle().describe();
    const id = encodeURIComponent(sandbox.prefix + KEY);
    await page.goto(`${stack().temporal.ui}/namespaces/default/workflows/${id}/${runId}/${tab}`);
  }

  /** The page holds a second copy of some of its parts for narrow windows. */
  function shown(locator: Locator): Locator {
    return locator.filter({ visible: true }).first();
  }

  /** @throws TimeoutError when something can't be clicked */
  async function sendRetry(): Promise<void> {
    const soon = { timeout: 15_000 };
    await page.getByRole('button', { name: 'More Actions' }).click(soon);
    await page.getByRole('menuitem', { name: 'Send a Signal' }).click(soon);
    await shown(page.getByTestId('signal-select-button')).click(soon);
    await shown(page.getByRole('option', { name: 'retry Try again now' })).click(soon);
    await shown(page.getByRole('button', { name: 'Submit', exact: true })).click(soon);
  }

  describe('of an escalated key', () => {
    it('finds it by its state and shows the key as the workflow ID', async () => {
      const query = encodeURIComponent(`KeymendState = "escalated" AND WorkflowId = "${sandbox.prefix}${KEY}"`);
      await page.goto(`${stack().temporal.ui}/namespaces/default/workflows?query=${query}`);
      await page
        .getByRole('link', { name: `${sandbox.prefix}${KEY}` })
        .first()
        .waitFor();
    });

    it('says what happened and what to do next', async () => {
      await open('user-metadata');
      // Markdown is shown in frames of their own: the summary's and the details'.
      const shownText = async () => {
        const texts = page.frames().map((frame) =>
          frame
            .locator('body')
            .textContent({ timeout: 1_000 })
            .catch(() => ''),
        );
        return (await Promise.all(texts)).join('\n');
      };
      await until(async () => /TargetReadOnly.*Next step/s.test(await shownText()));
    });

    it('sends a retry signal that ends the escalation', async () => {
      await sandbox.target.client.replicaof('NO', 'ONE');
      // The page draws its parts anew while it loads, and forgets a click that came too early.
      await until(async () => {
        await open('history');
        return sendRetry().then(
          () => true,
          () => false,
        );
      });
      await until(async () => (await state()) === 'COMPLETED');
      expect(await sandbox.target.client.get(KEY)).toBe('new');
    });
  });
});
