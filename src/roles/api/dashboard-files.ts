import { readFileSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { CodedError } from '../../ground/errors/coded-error.ts';

const FOLDER = fileURLToPath(new URL('../../dashboard/', import.meta.url));

const TYPES: Readonly<Record<string, string>> = {
  js: 'text/javascript; charset=utf-8',
  css: 'text/css; charset=utf-8',
  svg: 'image/svg+xml',
  woff2: 'font/woff2',
};

/** A file of the dashboard as the build made it; text is there compressed too. */
export interface DashboardFile {
  readonly type: string;
  readonly bytes: Buffer;
  readonly gzipped: Buffer | undefined;
}

/**
 * The files of the dashboard, read once. Each but the page itself has the digest of its content in its name,
 * so that a browser may keep it for good.
 */
export class DashboardFiles {
  readonly page: DashboardFile;
  readonly #files = new Map<string, DashboardFile>();

  /** Throws CodedError `start_failed` where the build made no dashboard. */
  constructor(folder = FOLDER) {
    try {
      const names = new Set(readdirSync(folder));
      const read = (name: string, type: string): DashboardFile => ({
        type,
        bytes: readFileSync(join(folder, name)),
        gzipped: names.has(`${name}.gz`) ? readFileSync(join(folder, `${name}.gz`)) : undefined,
      });
      this.page = read('index.html', 'text/html; charset=utf-8');
      for (const name of names) {
        const type = TYPES[name.split('.').at(-1) ?? ''];
        if (type !== undefined) this.#files.set(name, read(name, type));
      }
    } catch (cause) {
      throw new CodedError('start_failed', `The files of the dashboard cannot be read from ${folder}.`, {
        cause,
        hint: 'build them: npm run build',
      });
    }
  }

  /** Throws CodedError `route_not_found`. */
  get(name: string): DashboardFile {
    const file = this.#files.get(name);
    if (file === undefined) throw new CodedError('route_not_found', 'The dashboard has no file of this name.');
    return file;
  }
}
