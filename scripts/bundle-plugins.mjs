// What the bundles of built programs have in common.
import { readFile } from 'node:fs/promises';
import { dirname, join, relative } from 'node:path';
import { fileURLToPath } from 'node:url';

const dist = fileURLToPath(new URL('../dist/', import.meta.url));

/** What a file reads from beside itself is found from the place of the bundle. */
export const placesOfFiles = (program) => ({
  name: 'places-of-files',
  setup({ onLoad }) {
    onLoad({ filter: /\.js$/ }, async ({ path }) => {
      const text = await readFile(path, 'utf8');
      const place = JSON.stringify(relative(dirname(join(dist, program)), path));
      return { contents: text.replaceAll('import.meta.url', `new URL(${place}, import.meta.url).href`), loader: 'js' };
    });
  },
});

/** Leaves out zod's error texts in some fifty languages: we use English alone. */
export const englishOnly = {
  name: 'english-only',
  setup({ onResolve, onLoad }) {
    onResolve({ filter: /\/locales\/index\.js$/ }, ({ importer }) =>
      /[\\/]zod[\\/]/.test(importer) ? { path: 'none', namespace: 'locales' } : undefined,
    );
    onLoad({ filter: /./, namespace: 'locales' }, () => ({ contents: 'export {};' }));
  },
};
