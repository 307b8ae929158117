import { build } from 'esbuild';

/**
 * A module of `src`, bundled from the sources with what it imports: scripts that read tables need no build.
 * `input` is esbuild's: `{ entryPoints: [path] }`, or `{ stdin }`.
 */
export async function importSource(input) {
  const { outputFiles } = await build({
    ...input,
    bundle: true,
    write: false,
    format: 'esm',
    platform: 'node',
    logLevel: 'error',
  });
  return import(`data:text/javascript;base64,${Buffer.from(outputFiles[0].contents).toString('base64')}`);
}
