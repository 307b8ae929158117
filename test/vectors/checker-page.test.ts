import { mkdtempSync, rmSync } from 'node:fs';
import { spawnSync } from 'node:child_process';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { examine } from '../../src/surfaces/checker/examine.ts';
import { trustInGiven } from '../../src/surfaces/checker/trust.ts';
import { findChromium } from '../support/browser.ts';
import { dropOnto, examineEach, openChecker } from '../support/checker-page.ts';
import { ChromiumPage } from '../support/chromium.ts';
import { contradictions, sound } from '../support/contradictions.ts';
import { ROOT } from '../support/redis.ts';
import { changedFields, documents, keyring, keyringFile, newKey, signed } from '../support/sample-receipts.ts';
import { sampleOf } from '../support/thorough.ts';

const KEYRING = { name: 'keyring.json', bytes: Buffer.from(JSON.stringify(keyringFile())) };
const chromium = findChromium();
let folder: string;
/** The page as `countersign verify --page` writes it. */
let url: string;
let page: ChromiumPage | undefined;

beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), 'cs-page-'));
  const file = join(folder, 'verify.html');
  const written = spawnSync(process.execPath, [join(ROOT, 'dist/roles/cli/main.js'), 'verify', '--page', file], {
    encoding: 'utf8',
  });
  expect([written.status, written.stderr]).toEqual([0, '']);
  url = pathToFileURL(file).href;
  if (chromium !== undefined) page = await ChromiumPage.open(chromium);
});
afterAll(async () => {
  await page?.[Symbol.asyncDispose]();
  rmSync(folder, { recursive: true, force: true });
});

/** A page that holds the keyring; undefined, and said, where no browser is installed. */
async function opened(): Promise<ChromiumPage | undefined> {
  if (page === undefined) return undefined;
  await openChecker(page, url);
  await dropOnto(page, [KEYRING]);
  return page;
}

/** A thousand receipts: sound ones, contradictory ones, forged ones, and some with a byte changed. */
function mutated(): Buffer[] {
  const base = documents(1);
  const bytes = [...sound(base), ...contradictions(base), ...changedFields(base, newKey())].map((one) => one.bytes);
  const whole = signed(documents(2));
  for (let at = 0; bytes.length < 1_000; at += 1) {
    const changed = Buffer.from(whole);
    const place = (at * 7_919) % whole.length;
    changed[place] = whole.readUInt8(place) ^ (1 + (at % 255));
    bytes.push(changed);
  }
  return bytes;
}

describe('the page that checks receipts, opened from a file', () => {
  test('says of mutated receipts, byte for byte, what the command says', async () => {
    const receipts = sampleOf(mutated(), 10);
    const expected = receipts.map(
      (bytes) => `${JSON.stringify(examine(bytes, { keyring, ...trustInGiven(KEYRING.name) }).answer)}\n`,
    );
    expect(new Set(expected).size).toBeGreaterThan(10);
    const checker = await opened();
    if (checker === undefined) return;
    expect(await examineEach(checker, receipts)).toEqual(expected);
    expect([await checker.forbidden(), checker.trouble]).toEqual([[], []]);
  });

  test('is told its files apart, shows every line with its sentence, and counts no skip as passed', async () => {
    const checker = await opened();
    if (checker === undefined) return;
    const bytes = signed(documents(4));
    const shown = await dropOnto(checker, [{ name: 'r', bytes }]);
    expect([shown.title, shown.tally]).toEqual(['The receipt holds', ['7 pass', '0 fail', '4 skipped']]);
    expect(shown.lines).toEqual([...Array<string>(7).fill('PASS'), ...Array<string>(4).fill('SKIP')]);
    for (const words of [
      'What this proves',
      'What this does not prove',
      'HARDWARE_NOT_ATTESTED',
      'tenant-4 asked kjv-1m',
    ])
      expect(shown.text).toContain(words);
    const other = await dropOnto(checker, [{ name: 'answer', bytes: Buffer.from('another') }]);
    expect([other.title, other.tally[0]]).toEqual(['Do not rely on this receipt', '1 fail']);
    const unfit = await dropOnto(checker, [{ name: 'k', bytes: Buffer.from('{"keys":[],"logPolicy":""}') }]);
    expect([unfit.title, unfit.saved]).toEqual(['', null]);
    expect(unfit.text).toContain('Nothing was verified.');
    expect([await checker.forbidden(), checker.trouble]).toEqual([[], []]);
  });

  test('opens a receipt from the fragment of its address, which alone carries it', async () => {
    const checker = await opened();
    if (checker === undefined) return;
    const bytes = signed(documents(5));
    await checker.visit('about:blank');
    await openChecker(checker, `${url}#receipt=${bytes.toString('base64url')}`);
    const shown = await dropOnto(checker, [KEYRING]);
    expect(shown.title).toBe('The receipt holds');
    await checker.evaluate(
      `[...document.querySelectorAll('button')].find((one) => one.innerText === 'Copy link').click()`,
    );
    expect(await checker.evaluate('location.href')).toBe(`${url}#receipt=${bytes.toString('base64url')}`);
    expect(await checker.forbidden()).toEqual([]);
  });

  test('shows hostile text as text, and makes no request', async () => {
    const checker = await opened();
    if (checker === undefined) return;
    const hostile = '<img src=x onerror="canary()"><script>canary()</script>\u202egnp.\u001b[31m"';
    const { ticket, evidence, verdict } = documents(6);
    const named = {
      ...evidence,
      predicate: { ...evidence.predicate, engine: { ...evidence.predicate.engine, version: hostile.slice(0, 64) } },
    };
    await checker.evaluate(`globalThis.called = 0; globalThis.canary = () => { called += 1; }`);
    for (const bytes of [
      signed({ ticket, evidence: named, verdict }),
      Buffer.from(hostile),
      Buffer.from(`{"receipt":"countersign/v1","${hostile}":1}\n`),
    ]) {
      const shown = await dropOnto(checker, [{ name: `${hostile}.json`, bytes }]);
      expect(shown.text).not.toMatch(/[\u202e\u001b]/);
    }
    const made = await checker.evaluate(
      `document.querySelectorAll('img, iframe, object, main script').length + called`,
    );
    expect(made).toBe(0);
    expect([await checker.forbidden(), checker.trouble]).toEqual([[], []]);
  });

  test('is used by keyboard alone, and names every control', async () => {
    const checker = await opened();
    if (checker === undefined) return;
    await dropOnto(checker, [{ name: 'r', bytes: signed(documents(7)) }]);
    const reached: unknown[] = [];
    for (let at = 0; at < 14; at += 1) {
      await checker.press('Tab', 9);
      reached.push(await checker.evaluate(NAME_OF_FOCUS));
    }
    for (const name of [
      'Skip to what was found',
      'Receipt',
      'Keyring',
      'Answer',
      'Question',
      'Log',
      'Paste text instead',
      'Copy link',
      'Save as JSON',
    ])
      expect(reached).toContainEqual(expect.stringContaining(name));
    const { nodes } = await checker.call('Accessibility.getFullAXTree');
    const unnamed = JSON.stringify(nodes).match(
      /"role":\{"type":"role","value":"(button|textbox|link)"\},"chromeRole":\{[^}]*\},"name":\{"type":"computedString","value":""/g,
    );
    expect(unnamed).toBeNull();
  });
});

const NAME_OF_FOCUS = `(() => { const one = document.activeElement; return one.getAttribute('aria-label') ?? one.labels?.[0]?.innerText ?? one.innerText; })()`;
