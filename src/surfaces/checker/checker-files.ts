import { readFileSync } from 'node:fs';

/** The files of the page that checks receipts, as `scripts/bundle-checker.mjs` makes them. */
export type CheckerFile = 'verify.html' | 'page.html' | 'checker.js' | 'checker.css';

/**
 * A file of the page, as it was built: the whole page in one file, or the page that the API serves with its
 * script and style in files of their own. Throws where this is no build.
 */
export function checkerFile(name: CheckerFile): string {
  return readFileSync(new URL(`../../checker/${name}`, import.meta.url), 'utf8');
}
