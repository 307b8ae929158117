import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { chromium, type Browser, type Page } from 'playwright-core';
import { z } from 'zod';

const AXE = readFileSync(createRequire(import.meta.url).resolve('axe-core/axe.min.js'), 'utf8');

/** What axe found wrong, one line each. */
const Findings = z.array(z.string());

/** One window of a real browser on the dashboard, and everything that went wrong in it. */
export class DashboardVisit implements AsyncDisposable {
  readonly page: Page;
  readonly #browser: Browser;
  /** Violations of the content policy, errors of the page, and dialogues that a canary opened. */
  readonly faults: string[] = [];

  private constructor(browser: Browser, page: Page) {
    this.#browser = browser;
    this.page = page;
    page.on('pageerror', (error) => this.faults.push(`error: ${error.message}`));
    page.on('console', (message) => {
      if (/Content Security Policy|TrustedHTML|TrustedScript/.test(message.text())) this.faults.push(message.text());
    });
    page.on('dialog', (dialog) => {
      this.faults.push(`dialogue: ${dialog.message()}`);
      void dialog.dismiss();
    });
  }

  static async open(executablePath: string): Promise<DashboardVisit> {
    const browser = await chromium.launch({
      executablePath,
      args: ['--no-sandbox', '--disable-gpu', '--disable-dev-shm-usage'],
    });
    const context = await browser.newContext({ viewport: { width: 1280, height: 900 }, reducedMotion: 'reduce' });
    const visit = new DashboardVisit(browser, await context.newPage());
    // A slow machine is no fault of the page; the limit of the test ends what hangs.
    visit.page.setDefaultTimeout(120_000);
    return visit;
  }

  /** Signs in and waits for the first page. */
  async signIn(url: string, key: string): Promise<void> {
    await this.page.goto(url);
    await this.page.getByLabel('API key').fill(key);
    await this.page.getByRole('button', { name: 'Sign in' }).click();
    await this.page.getByRole('navigation', { name: 'Sections' }).waitFor();
  }

  /** Goes to a page of the dashboard and waits until it has loaded what it shows. */
  async to(path: string): Promise<void> {
    await this.page.evaluate(`location.hash = ${JSON.stringify(`#/${path}`)}`);
    await this.page.locator('main h1').first().waitFor();
    await this.page.locator('main', { hasText: 'Loading …' }).waitFor({ state: 'hidden' });
  }

  /**
   * What axe finds on this page, in the theme and the width that it has now. It runs in a world of its own,
   * where the policy of the page does not reach.
   */
  async accessibility(): Promise<string[]> {
    const session = await this.page.context().newCDPSession(this.page);
    const { frameTree } = await session.send('Page.getFrameTree');
    const { executionContextId: contextId } = await session.send('Page.createIsolatedWorld', {
      frameId: frameTree.frame.id,
    });
    const run = `${AXE};axe.run(document,{resultTypes:['violations']}).then(({violations})=>violations.flatMap(
      ({id,nodes})=>nodes.map(({html})=>id+': '+html.slice(0,160))))`;
    const { result } = await session.send('Runtime.evaluate', {
      ...{ expression: run, contextId, awaitPromise: true, returnByValue: true },
    });
    await session.detach();
    return Findings.parse(result.value);
  }

  /** How much wider than the window the page is, in pixels. */
  async overflow(): Promise<number> {
    return z.number().parse(await this.page.evaluate('document.documentElement.scrollWidth - innerWidth'));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#browser.close();
  }
}
