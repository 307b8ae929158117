import { spawn, type ChildProcess } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Readable, Writable } from 'node:stream';
import { z } from 'zod';

const Message = z.object({
  id: z.number().optional(),
  method: z.string().optional(),
  params: z.record(z.string(), z.unknown()).default({}),
  result: z.record(z.string(), z.unknown()).optional(),
  error: z.object({ message: z.string() }).optional(),
  sessionId: z.string().optional(),
});
type Message = z.infer<typeof Message>;

/** What a page did that its security policy forbids, or that it did not mean to. */
const OF_TROUBLE = ['Runtime.exceptionThrown', 'Inspector.targetCrashed'];

/**
 * One page of a Chromium that is driven from outside (Chrome DevTools Protocol over a pipe), so that the page
 * may forbid every connection and still be looked at. Everything that goes wrong in it is in `trouble`.
 */
export class ChromiumPage implements AsyncDisposable {
  readonly trouble: string[] = [];
  readonly #browser: ChildProcess;
  readonly #to: Writable;
  readonly #profile: string;
  readonly #waiting = new Map<number, (message: Message) => void>();
  readonly #listeners = new Map<string, () => void>();
  #session = '';
  #lastId = 0;

  private constructor(browser: ChildProcess, profile: string) {
    this.#browser = browser;
    this.#profile = profile;
    const [, , , to, from] = browser.stdio as [null, null, null, Writable, Readable];
    this.#to = to;
    let rest = '';
    from.setEncoding('utf8').on('data', (piece: string) => {
      const parts = `${rest}${piece}`.split('\0');
      rest = parts.pop() ?? '';
      for (const part of parts) this.#take(Message.parse(JSON.parse(part)));
    });
  }

  static async open(chromium: string): Promise<ChromiumPage> {
    const profile = mkdtempSync(join(tmpdir(), 'cs-chromium-'));
    const flags = ['--headless=new', '--no-sandbox', '--disable-gpu', '--disable-dev-shm-usage', '--hide-scrollbars'];
    const browser = spawn(
      chromium,
      [...flags, '--remote-debugging-pipe', `--user-data-dir=${profile}`, 'about:blank'],
      { stdio: ['ignore', 'ignore', 'ignore', 'pipe', 'pipe'], detached: true },
    );
    const page = new ChromiumPage(browser, profile);
    const { targetId } = await page.call('Target.createTarget', { url: 'about:blank' });
    const { sessionId } = await page.call('Target.attachToTarget', { targetId, flatten: true });
    page.#session = z.string().parse(sessionId);
    for (const domain of ['Page', 'Runtime', 'Log', 'Accessibility']) await page.call(`${domain}.enable`);
    const source = `globalThis.forbidden = [];
      document.addEventListener('securitypolicyviolation', (event) => forbidden.push(event.violatedDirective + ' ' + event.blockedURI));`;
    await page.call('Page.addScriptToEvaluateOnNewDocument', { source });
    return page;
  }

  /** The answer to a command. Throws an Error where the browser refuses it. */
  async call(method: string, params: Readonly<Record<string, unknown>> = {}): Promise<Record<string, unknown>> {
    const id = (this.#lastId += 1);
    const answered = new Promise<Message>((resolve) => this.#waiting.set(id, resolve));
    const session = this.#session === '' ? {} : { sessionId: this.#session };
    this.#to.write(`${JSON.stringify({ id, method, params, ...session })}\0`);
    const { result, error } = await answered;
    if (error !== undefined) throw new Error(`${method}: ${error.message}`);
    return result ?? {};
  }

  /** Opens an address and waits until the page and its scripts are there. */
  async visit(url: string): Promise<void> {
    const loaded = new Promise<void>((resolve) => this.#listeners.set('Page.loadEventFired', resolve));
    await this.call('Page.navigate', { url });
    await loaded;
  }

  /** What an expression comes to in the page; promises are waited for. Throws an Error with what it threw. */
  async evaluate(expression: string): Promise<unknown> {
    const said = await this.call('Runtime.evaluate', { expression, awaitPromise: true, returnByValue: true });
    const { result, exceptionDetails } = z
      .object({ result: z.object({ value: z.unknown().optional() }), exceptionDetails: z.unknown().optional() })
      .parse(said);
    if (exceptionDetails !== undefined) throw new Error(JSON.stringify(exceptionDetails).slice(0, 2_000));
    return result.value;
  }

  /** What the page did in this document that its security policy forbids. */
  async forbidden(): Promise<unknown> {
    return this.evaluate('forbidden');
  }

  async press(key: string, code: number): Promise<void> {
    const text = key === 'Enter' ? { text: '\r' } : {};
    const event = { key, code: key, windowsVirtualKeyCode: code, ...text };
    await this.call('Input.dispatchKeyEvent', { type: 'keyDown', ...event });
    await this.call('Input.dispatchKeyEvent', { type: 'keyUp', ...event });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const gone = new Promise((resolve) => this.#browser.once('exit', resolve));
    // Its own processes too, which still write into its folder.
    if (this.#browser.pid !== undefined) process.kill(-this.#browser.pid, 'SIGKILL');
    await gone;
    rmSync(this.#profile, { recursive: true, force: true, maxRetries: 20, retryDelay: 100 });
  }

  #take(message: Message): void {
    const { id, method, params } = message;
    if (id !== undefined) {
      this.#waiting.get(id)?.(message);
      this.#waiting.delete(id);
      return;
    }
    if (method === undefined) return;
    if (OF_TROUBLE.includes(method) || (method === 'Log.entryAdded' && isError(params)))
      this.trouble.push(`${method} ${JSON.stringify(params).slice(0, 2_000)}`);
    this.#listeners.get(method)?.();
    this.#listeners.delete(method);
  }
}

function isError(params: unknown): boolean {
  const said = z.object({ entry: z.object({ level: z.string(), url: z.string().default('') }) }).safeParse(params);
  // A browser asks every server for this picture; no page names it.
  return said.success && said.data.entry.level === 'error' && !said.data.entry.url.endsWith('/favicon.ico');
}
