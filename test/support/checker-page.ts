import { z } from 'zod';
import type { ChromiumPage } from './chromium.ts';

/** A file as it is given to the page. */
export interface PageFile {
  readonly name: string;
  readonly bytes: Uint8Array;
}

/** What the page shows, as a reader sees it, and what it saves. */
export const Shown = z.object({
  title: z.string(),
  tally: z.array(z.string()),
  lines: z.array(z.string()),
  text: z.string(),
  /** What "Save as JSON" saves; null where there is nothing to save. */
  saved: z.string().nullable(),
});
export type Shown = z.infer<typeof Shown>;

const encoded = (files: readonly PageFile[]) =>
  JSON.stringify(files.map(({ name, bytes }) => [name, Buffer.from(bytes).toString('base64')]));

/** Kept in the page: what hands files to it, and what reads it. */
const HANDS = `
  globalThis.transfer = (files) => {
    const all = new DataTransfer();
    for (const [name, text] of files) all.items.add(new File([Uint8Array.from(atob(text), (c) => c.charCodeAt(0))], name));
    return all;
  };
  globalThis.redrawn = (act) => new Promise((resolve) => {
    const watch = new MutationObserver(() => { watch.disconnect(); resolve(); });
    watch.observe(document.getElementById('findings'), { childList: true });
    act();
  });
  globalThis.choose = (place, files) => redrawn(() => {
    const input = document.getElementById('place-' + place);
    input.files = transfer(files).files;
    input.dispatchEvent(new Event('change'));
  });
  globalThis.drop = (files) => redrawn(() => {
    const dataTransfer = transfer(files);
    document.dispatchEvent(new DragEvent('drop', { dataTransfer, bubbles: true, cancelable: true }));
  });
  globalThis.shown = async () => {
    const words = (query) => [...document.querySelectorAll(query)].map((one) => one.innerText.trim());
    const blobs = [];
    const make = URL.createObjectURL;
    URL.createObjectURL = (blob) => { blobs.push(blob); return make.call(URL, blob); };
    [...document.querySelectorAll('#findings button')].find((one) => one.innerText === 'Save as JSON')?.click();
    URL.createObjectURL = make;
    const [title = ''] = words('#findings h2');
    const findings = document.getElementById('findings').innerText;
    return { title, tally: words('.tally span'), lines: words('.lines .result'), text: findings, saved: (await blobs[0]?.text()) ?? null };
  };
`;

/** Opens the page and puts hands into it. */
export async function openChecker(page: ChromiumPage, url: string): Promise<void> {
  await page.visit(url);
  await page.evaluate(`${HANDS} undefined`);
}

/** Drops files anywhere onto the page, and returns what it shows then. */
export async function dropOnto(page: ChromiumPage, files: readonly PageFile[]): Promise<Shown> {
  return Shown.parse(await page.evaluate(`drop(${encoded(files)}).then(shown)`));
}

/** Chooses each of these as the receipt, one after another, and returns what the page saves of each. */
export async function examineEach(page: ChromiumPage, receipts: readonly Uint8Array[]): Promise<(string | null)[]> {
  const files = encoded(receipts.map((bytes, at) => ({ name: `receipt-${at}`, bytes })));
  const saved = await page.evaluate(`(async () => {
    const saved = [];
    for (const file of ${files}) { await choose(0, [file]); saved.push((await shown()).saved); }
    return saved;
  })()`);
  return z.array(z.string().nullable()).parse(saved);
}
