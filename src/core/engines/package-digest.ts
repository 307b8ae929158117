import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import { sha256Hex } from '../../ground/blobs/sha256.ts';

const require = createRequire(import.meta.url);

/**
 * Version and manifest digest of an installed package: what "engine build" means for an engine that npm
 * delivers.
 */
export function packageIdentity(name: string): { version: string; sha256: string; folder: string } {
  const folder = packageFolder(name);
  const manifest = readFileSync(join(folder, 'package.json'), 'utf8');
  const parsed: unknown = JSON.parse(manifest);
  const version =
    typeof parsed === 'object' && parsed !== null && 'version' in parsed ? String(parsed.version) : 'unknown';
  return { version, sha256: sha256Hex(manifest), folder };
}

/** Walks up from the package's entry, because `exports` may hide the manifest. */
function packageFolder(name: string): string {
  for (const root of require.resolve.paths(name) ?? []) {
    const folder = join(root, name);
    try {
      readFileSync(join(folder, 'package.json'));
      return folder;
    } catch {
      continue;
    }
  }
  throw new Error(`The package ${name} is not installed beside ${dirname(import.meta.url)}.`);
}
