import { readdirSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { z } from 'zod';
import { AuditEntries } from '../../src/roles/api/admin.schemas.ts';
import { DeliveryList } from '../../src/roles/api/webhooks.schemas.ts';
import { LoginLink, SessionDocument } from '../../src/roles/api/session.schemas.ts';
import { Problem } from '../../src/proof/contract/problem.ts';
import { ApiKeys } from '../../src/surfaces/tenants/api-key.store.ts';
import { findChromium } from '../support/browser.ts';
import { DashboardVisit } from '../support/dashboard-visit.ts';
import { BY_HAND_MODEL, NOOP_MODEL, Client, Pipeline, completion, until } from '../support/pipeline.ts';
import { ROOT } from '../support/redis.ts';
import { Receiver } from '../support/receiver.ts';
import { IS_WHOLE, sampleOf, wholeTest } from '../support/thorough.ts';

const chromium = findChromium();
/** What hostile people write wherever they may: a script, terminal codes, marks of direction. */
const CANARY = `"><script>alert(1)</script><img src=x onerror=alert(2)>\u001b[31m\u202egpj.exe`;

let pipeline: Pipeline;
let operator: Client;
let member: Client;

beforeAll(async () => {
  pipeline = await Pipeline.prepare([NOOP_MODEL, BY_HAND_MODEL]);
  const price = { input: 1_000_000, output: 1_000_000 };
  const prices = { version: 1, id: 'test', currency: 'EUR', models: { noop: price } };
  const env = {
    COUNTERSIGN_WEBHOOK_PRIVATE: 'allow',
    COUNTERSIGN_PRICES: pipeline.file('prices.json', prices),
  };
  await Promise.all([pipeline.api(env), pipeline.worker(1), pipeline.attestor(), pipeline.courier(env)]);
  operator = await pipeline.client('operator');
  member = new Client(pipeline.url, await pipeline.key('acme', ['submit', 'read']));
});
afterAll(() => pipeline[Symbol.asyncDispose]());

/** A browser as far as HTTP sees one: its cookie, and what its page sends. */
class Browser {
  cookie = '';
  proof = '';

  async send(method: string, path: string, body?: unknown, headers: Record<string, string> = {}): Promise<Response> {
    const response = await fetch(`${pipeline.url}${path}`, {
      method,
      headers: {
        ...(body === undefined ? {} : { 'content-type': 'application/json' }),
        ...(this.cookie === '' ? {} : { cookie: this.cookie }),
        ...(this.proof === '' ? {} : { 'x-countersign-session': this.proof }),
        'sec-fetch-site': 'same-origin',
        ...headers,
      },
      ...(body === undefined ? {} : { body: JSON.stringify(body) }),
    });
    const set = response.headers.get('set-cookie');
    if (set !== null) this.cookie = set.split(';', 1)[0] ?? '';
    return response;
  }

  /** Signs in; returns who is signed in now. */
  async signIn(by: { key: string } | { link: string }, read_only = false): Promise<SessionDocument> {
    const session = SessionDocument.parse(await (await this.send('POST', '/v1/session', { ...by, read_only })).json());
    this.proof = session.proof;
    return session;
  }
}

const codeOf = async (response: Response): Promise<string> => Problem.parse(await response.json()).code;

describe('a session of the dashboard', () => {
  test('has the powers of its key, is hidden from scripts, and ends when it is told to', async () => {
    const browser = new Browser();
    const answer = await browser.send('POST', '/v1/session', { key: member.key });
    expect(answer.headers.get('set-cookie')).toMatch(/; Path=\/; Max-Age=43200; HttpOnly; SameSite=Strict$/);
    const session = SessionDocument.parse(await answer.json());
    expect(session).toMatchObject({ tenant: 'acme', scopes: ['submit', 'read'], read_only: false });
    browser.proof = session.proof;
    expect((await browser.send('GET', '/v1/jobs')).status).toBe(200);
    expect((await browser.send('POST', '/v1/jobs', completion('x'))).status).toBe(202);
    expect(await codeOf(await browser.send('GET', '/v1/admin/overview'))).toBe('scope_missing');
    const kept = browser.cookie;
    expect((await browser.send('DELETE', '/v1/session')).status).toBe(200);
    browser.cookie = kept;
    expect((await browser.send('GET', '/v1/jobs')).status).toBe(401);
  });

  test('403: no other site uses it, and no request without the proof of its page changes anything', async () => {
    const browser = new Browser();
    await browser.signIn({ key: member.key });
    for (const site of ['cross-site', 'same-site'])
      for (const method of ['GET', 'POST'])
        expect(
          await codeOf(
            await browser.send(method, '/v1/jobs', method === 'GET' ? undefined : {}, { 'sec-fetch-site': site }),
          ),
        ).toBe('session_unproven');
    for (const proof of ['', 'x'.repeat(43), browser.cookie])
      expect(
        await codeOf(await browser.send('POST', '/v1/jobs', completion('x'), { 'x-countersign-session': proof })),
      ).toBe('session_unproven');
    expect(
      await codeOf(
        await new Browser().send('POST', '/v1/session', { key: member.key }, { 'sec-fetch-site': 'cross-site' }),
      ),
    ).toBe('session_unproven');
  });

  test('403: one that only reads changes nothing, hands out no secret, and can still end', async () => {
    const browser = new Browser();
    const administrator = await pipeline.key('acme', ['submit', 'read', 'tenant_admin']);
    expect((await browser.signIn({ key: administrator }, true)).read_only).toBe(true);
    for (const [method, path, body] of [
      ['POST', '/v1/jobs', completion('x')],
      ['POST', '/v1/keys', { scopes: ['read'] }],
      ['POST', '/v1/session/links', {}],
      ['GET', '/v1/webhooks/default/secret', undefined],
      ['GET', '/v1/webhooks/default/%73ecret', undefined],
      ['GET', '/v1/webhooks/default/secret/', undefined],
    ] as const)
      expect([path, await codeOf(await browser.send(method, path, body))]).toEqual([path, 'session_reads_only']);
    expect((await browser.send('GET', '/v1/keys')).status).toBe(200);
    // The administrator sees in the audit log what was tried.
    const refusedIn = async () => {
      const page = await new Client(pipeline.url, administrator).json('/v1/audit?limit=100');
      return AuditEntries.parse(page).entries.some(
        ({ action, target }) => action === 'refused' && target === 'POST /v1/keys',
      );
    };
    await until(refusedIn);
    expect((await browser.send('DELETE', '/v1/session')).status).toBe(200);
  });

  test('begins once by a link, with no more power than the link, and ends with its key', async () => {
    const keys = new ApiKeys(pipeline.redis.client('api'), pipeline.redis.keys);
    const { text, keyId } = await keys.create('test', { tenant: 'acme', scopes: ['submit', 'read'] });
    const owner = new Client(pipeline.url, text);
    const link = LoginLink.parse(await (await owner.post('/v1/session/links', { read_only: true })).json());
    const secret = link.path.split('/').at(-1) ?? '';
    const browser = new Browser();
    expect((await browser.signIn({ link: secret })).read_only).toBe(true);
    expect(await codeOf(await new Browser().send('POST', '/v1/session', { link: secret }))).toBe('link_over');
    await keys.revoke('test', keyId);
    await until(async () => (await browser.send('GET', '/v1/session')).status === 401);
    const late = LoginLink.parse(await (await operator.post('/v1/session/links', {})).json());
    expect(
      (await new Browser().send('POST', '/v1/session', { link: `${late.path.split('/').at(-1) ?? ''}x` })).status,
    ).toBe(410);
  });

  test('401, 429: wrong keys are refused, and an address that goes on trying is held up', async () => {
    expect((await new Browser().send('POST', '/v1/session', { key: 'csk_wrong' })).status).toBe(401);
    const statuses = new Set<number>();
    await until(async () =>
      statuses.add((await new Browser().send('POST', '/v1/session', { key: 'x' })).status).has(429),
    );
    // The right key too; on a slow machine, there was room again for a few attempts meanwhile.
    const refused = await until(async () => {
      const answer = await new Browser().send('POST', '/v1/session', { key: operator.key });
      return answer.status === 429 && answer;
    });
    expect(Number(refused.headers.get('retry-after'))).toBeGreaterThan(0);
    // The others of this suite sign in from the same address.
    await pipeline.redis.client().unlink(pipeline.redis.keys.limit('login', '127.0.0.1', 'requests'));
  });

  test('what was done with it stands in the audit log', async () => {
    const { entries } = AuditEntries.parse(await operator.json('/v1/admin/audit?limit=1000'));
    const actions = new Set(entries.map(({ action }) => action));
    for (const action of ['session.begin', 'session.end', 'session.link', 'session.refused'])
      expect([action, actions.has(action)]).toEqual([action, true]);
    expect(JSON.stringify(entries)).not.toContain(member.key);
  });
});

test('the first view is at most 150 KB compressed, and no file of it is on another server', () => {
  const folder = join(ROOT, 'dist', 'dashboard');
  const names = readdirSync(folder);
  const sizes = names.filter((name) => !names.includes(`${name}.gz`)).map((name) => statSync(join(folder, name)).size);
  expect(sizes.length).toBeGreaterThan(3);
  expect(sizes.reduce((sum, size) => sum + size, 0)).toBeLessThan(150_000);
});

/** Every page, and what an operator finds on it. */
const PAGES: readonly (readonly [path: string, heading: RegExp])[] = [
  ['overview', /Working/],
  ['jobs', /^Jobs$/],
  ['jobs?state=expired', /^Jobs$/],
  ['workers', /^Workers$/],
  ['log', /^Log$/],
  ['playground', /^Playground$/],
  ['models', /^Models and pools$/],
  ['memory', /^Memory$/],
  [`memory/${encodeURIComponent('"><script>alert(3)</script>')}`, /alert\(3\)/],
  ['batches', /^Batches$/],
  ['tenants', /^Tenants and keys$/],
  ['tenants/acme', /^Keys of acme$/],
  ['usage', /^Usage$/],
  ['webhooks', /^Webhooks$/],
  ['audit', /^Audit log$/],
  ['stuck', /cannot be judged/],
  ['nowhere', /no such page/],
];

/** Each theme and each width once: axe takes seconds. */
const LOOKS = [
  ['light', 1280],
  ['dark', 390],
] as const;

describe('the dashboard in Chromium', () => {
  if (chromium === undefined) return;
  let visit: DashboardVisit;
  let job: string;

  beforeAll(async () => {
    const own = operator;
    job = (await own.run(completion(CANARY))).id;
    const keys = new ApiKeys(pipeline.redis.client('api'), pipeline.redis.keys);
    await own.post('/v1/admin/tenants', { name: 'acme' });
    await keys.create('test', { tenant: 'acme', scopes: ['read'], name: CANARY });
    await own.post('/v1/webhooks', { url: 'http://127.0.0.1:9/', description: CANARY });
    const told = { owner: '"><script>alert(3)</script>', infer: false, category: CANARY };
    for (const text of [CANARY, 'I am allergic to nuts.'])
      // The courier starts the memory when it is used first.
      await until(async () => (await own.post('/v1/memories', { ...told, text, reference: CANARY })).status === 201);
    visit = await DashboardVisit.open(chromium);
    await visit.signIn(pipeline.url, own.key);
  });
  afterAll(() => visit[Symbol.asyncDispose]());

  test('every page (in short, every sixth) is shown, is clean for axe in light and wide or in dark and narrow, and no wider than its window', async () => {
    const { page } = visit;
    const webhook = z
      .object({ webhooks: z.array(z.object({ id: z.string() })) })
      .parse(await operator.json('/v1/webhooks')).webhooks[0];
    const worker = z
      .object({ workers: z.array(z.object({ id: z.string() })) })
      .parse(await operator.json('/v1/workers')).workers[0];
    const pages = [
      ...PAGES,
      [`jobs/${job}`, new RegExp(job)],
      [`workers/${worker?.id ?? ''}`, /./],
      [`webhooks/${webhook?.id ?? ''}`, /127\.0\.0\.1/],
    ] as const;
    const found: string[] = [];
    const rows = [...pages.entries()];
    for (const [at, [path, heading]] of IS_WHOLE ? rows : sampleOf(rows, 6)) {
      await visit.to(path);
      await page.locator('main h1', { hasText: heading }).first().waitFor();
      for (const [colorScheme, width] of sampleOf(LOOKS, LOOKS.length, at)) {
        await page.emulateMedia({ colorScheme, reducedMotion: 'reduce' });
        await page.setViewportSize({ width, height: 900 });
        const here = `${path}, ${colorScheme}, ${width}`;
        found.push(...(await visit.accessibility()).map((fault) => `${here}: ${fault}`));
        if ((await visit.overflow()) > 0) found.push(`${here}: wider than its window`);
      }
    }
    expect(found).toEqual([]);
    await page.setViewportSize({ width: 1280, height: 900 });
  });

  wholeTest('the control: axe finds a fault that is there', async () => {
    await visit.to('jobs');
    await visit.page.evaluate("document.querySelector('#model').previousElementSibling.remove()");
    expect((await visit.accessibility()).join()).toContain('select-name');
    await visit.page.reload();
  });

  wholeTest('a job that is sent shows without a reload, and its verdict as it comes', async () => {
    await visit.to('overview');
    const { id } = await operator.run(completion('seen live'));
    await visit.page.locator(`.rows code[title="${id}"]`).waitFor();
    await visit.to('jobs');
    await visit.page.locator(`table code[title="${id}"]`).waitFor();
  });

  wholeTest('an answer is hidden until somebody asks for it, which stands in the audit log then', async () => {
    await visit.to(`jobs/${job}`);
    const text = z.object({ text: z.string() }).parse(JSON.parse((await operator.output(job)).toString())).text;
    const main = visit.page.locator('main');
    expect(await main.textContent()).not.toContain(text);
    await visit.page.getByRole('button', { name: 'Show the answer' }).click();
    await main.getByText(text).waitFor();
    await until(async () => {
      const { entries } = AuditEntries.parse(await operator.json('/v1/admin/audit?limit=100'));
      return entries.some(({ action, target }) => action === 'job.answer.read' && target === job);
    });
  });

  wholeTest('the playground shows an answer as provisional and then as confirmed, with its receipt', async () => {
    await visit.to('playground');
    await visit.page.getByLabel('Model').selectOption('noop');
    await visit.page.getByLabel('Your question').fill(CANARY);
    await visit.page.getByRole('button', { name: 'Ask' }).click();
    await visit.page.locator('.confirmed').waitFor();
    await visit.page.getByRole('link', { name: 'Save the receipt' }).waitFor();
    expect(await visit.page.locator('.asked').textContent()).toContain('<script>alert(1)</script>');
  });

  wholeTest('a job that waits says why, is cancelled from its page, and a job is run again and compared', async () => {
    const { id } = await operator.submit(completion('waits', { model: 'by-hand' }));
    await visit.to(`jobs/${id}`);
    await visit.page.getByRole('region', { name: 'What holds it now' }).getByText('no_worker').waitFor();
    await visit.page.getByRole('button', { name: 'Cancel …' }).click();
    await visit.page.getByRole('button', { name: 'Cancel the job' }).click();
    await visit.page.locator('.badge', { hasText: 'Cancelled' }).waitFor();
    await visit.to(`jobs/${job}`);
    await visit.page.getByLabel('The question').fill(CANARY);
    await visit.page.getByText('It is the question of the ticket.').waitFor();
    await visit.page.getByRole('button', { name: 'Run again' }).click();
    await visit.page.getByText('Both answers are the same bytes.').waitFor();
  });

  wholeTest('the life of a job ends with its charge and the messages that told of it', async () => {
    await using receiver = await Receiver.start();
    const { id } = await operator.run(completion('told', { webhook: { url: receiver.url } }));
    await until(async () => {
      const { deliveries } = DeliveryList.parse(await operator.json(`/v1/jobs/${id}/deliveries`));
      return deliveries.some(({ endpoint, status }) => endpoint === 'job' && status === 'delivered');
    });
    await visit.to(`jobs/${id}`);
    const life = visit.page.getByRole('region', { name: 'What happened' });
    await life.getByText('Delivered after 1 attempt, answered 204').waitFor();
    await life.getByText('by the price in its ticket').waitFor();
  });

  wholeTest('all open jobs that match are counted, and cancelled in chunks; then asked again', async () => {
    const { page } = visit;
    const jobs = await Promise.all(
      Array.from({ length: 20 }, () => operator.submit(completion('many', { model: 'by-hand' }))),
    );
    const states = async () => {
      const now = await Promise.all(jobs.map(({ id }) => operator.job(id)));
      return [...new Set(now.map(({ state }) => state))].join();
    };
    await visit.to('jobs?state=queued&model=by-hand');
    await page.getByRole('button', { name: 'Count what can be cancelled' }).click();
    await page.getByRole('button', { name: 'Cancel 20 …' }).click();
    expect(await states()).toBe('queued');
    await page.getByRole('button', { name: 'Cancel them' }).click();
    await page.getByText('20 cancelled').waitFor();
    expect(await states()).toBe('cancelled');
    await visit.to('jobs?state=cancelled&model=by-hand');
    await page.getByRole('button', { name: 'Count what can be asked again' }).click();
    await page.getByRole('button', { name: / again …$/ }).click();
    await page.getByRole('button', { name: 'Ask them again' }).click();
    await page.getByText(/2\d asked again/).waitFor();
    // Nobody is left to answer them.
    await visit.to('jobs?state=queued&model=by-hand');
    await page.getByRole('button', { name: 'Count what can be cancelled' }).click();
    await page.getByRole('button', { name: /^Cancel 2\d …$/ }).click();
    await page.getByRole('button', { name: 'Cancel them' }).click();
    await page.getByText(/2\d cancelled/).waitFor();
  });

  wholeTest(
    'an owner searches a memory, corrects it with its history kept, sees who read it, and erases it',
    async () => {
      const { page } = visit;
      await visit.to(`memory/${encodeURIComponent('"><script>alert(3)</script>')}`);
      await page.getByLabel('Search by meaning and by words').fill('allergic nuts');
      await page.getByRole('button', { name: 'Search' }).click();
      const found = page.getByRole('region', { name: 'What was found' });
      const card = found.locator('.panel', { hasText: 'allergic' });
      await card.getByText('I am allergic to nuts.').first().waitFor();
      await card.getByRole('button', { name: 'Correct …' }).click();
      await card.getByLabel('What is so').fill('I am allergic to peanuts.');
      await card.getByRole('button', { name: 'Save the correction' }).click();
      await found.locator('.foreign', { hasText: 'peanuts' }).waitFor();
      await found.getByRole('button', { name: 'Show what it said before' }).click();
      await found.getByRole('list', { name: 'What it said, the oldest first' }).getByText('to nuts.').waitFor();
      await page.getByRole('region', { name: 'Reads, the newest first' }).getByText('search').first().waitFor();
      const row = found.locator('.panel', { hasText: 'peanuts' });
      await row.getByRole('button', { name: 'Erase …' }).click();
      await row.getByRole('button', { name: 'Erase it for good' }).click();
      await page.getByRole('button', { name: 'Copy the receipt' }).waitFor();
      expect(await page.locator('main').textContent()).not.toContain('peanuts');
    },
  );

  wholeTest('a pool is paused, shows in the attention list, and is resumed', async () => {
    await visit.to('models');
    const row = visit.page.locator('tr', { hasText: 'hands' }).last();
    await row.getByRole('button', { name: 'Pause …' }).click();
    await visit.page.getByRole('button', { name: 'Pause the pool' }).click();
    await row.getByText('paused').waitFor();
    await visit.to('overview');
    await visit.page.getByText('The pool hands is paused').waitFor();
    await visit.to('models');
    await row.getByRole('button', { name: 'Resume' }).click();
    await row.getByText('open').waitFor();
  });

  wholeTest('a key is made, shown once, and revoked', async () => {
    await visit.to('tenants/acme');
    await visit.page.getByLabel('Name, for people').fill('made by hand');
    await visit.page.getByRole('button', { name: 'Make it' }).click();
    const key = (await visit.page.locator('.command code').textContent()) ?? '';
    const made = new Client(pipeline.url, key);
    expect((await made.fetch('/v1/jobs')).status).toBe(200);
    const row = visit.page.locator('tr', { hasText: 'made by hand' });
    await row.getByRole('button', { name: 'Revoke …' }).click();
    await row.getByRole('button', { name: 'Revoke the key' }).click();
    await row.getByText('revoked').waitFor();
    await until(async () => (await made.fetch('/v1/jobs')).status === 401);
  });

  wholeTest('every page is reached by keyboard, and the find field by one key', async () => {
    const { page } = visit;
    await visit.to('overview');
    await page.keyboard.press('/');
    await page.keyboard.type(job);
    await page.keyboard.press('Enter');
    await page.locator('h1', { hasText: job }).waitFor();
    const links = page.getByRole('navigation', { name: 'Sections' }).getByRole('link');
    await links.first().focus();
    for (let left = (await links.count()) - 1; left > 0; left -= 1) await page.keyboard.press('Tab');
    await page.keyboard.press('Enter');
    await page.locator('h1', { hasText: 'Audit log' }).waitFor();
  });

  wholeTest('a lost connection is said, and what is shown is live again when the service is', async () => {
    await visit.to('overview');
    const live = visit.page.getByRole('status');
    await live.getByText('Live', { exact: true }).waitFor();
    const { port } = new URL(pipeline.url);
    await pipeline.kill('api');
    await live.getByText('Not live').waitFor();
    await pipeline.api({ COUNTERSIGN_PORT: port, COUNTERSIGN_WEBHOOK_PRIVATE: 'allow' });
    await live.getByText('Live', { exact: true }).waitFor();
  });

  wholeTest('a session that ends leads to the sign-in, and a link from the command line signs in again', async () => {
    await visit.page.getByRole('button', { name: 'Sign out' }).click();
    await visit.page.getByRole('heading', { name: 'Sign in' }).waitFor();
    const { path } = LoginLink.parse(await (await operator.post('/v1/session/links', {})).json());
    await visit.page.goto(`${pipeline.url}${path}`);
    await visit.page.getByRole('navigation', { name: 'Sections' }).waitFor();
    expect(visit.page.url()).not.toContain(path.split('/').at(-1));
  });

  test('nothing broke the policy of the page, and no text that strangers wrote did anything', () => {
    expect(visit.faults).toEqual([]);
  });
});
