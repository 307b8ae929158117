import { existsSync } from 'node:fs';
import type { InitializeHook, ResolveHook } from 'node:module';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';

/** Hooks of the module loader, which run in a thread of its own; see `useGpuBuild`. */
const GPU_BUILD = /^@node-llama-cpp\/linux-x64-(cuda|cuda-ext|vulkan)$/;
let packages = '';

export const initialize: InitializeHook<{ folder: string }> = ({ folder }) => {
  packages = join(folder, 'node_modules');
};

export const resolve: ResolveHook = (specifier, context, next) => {
  const file = join(packages, specifier, 'dist', 'index.js');
  if (!GPU_BUILD.test(specifier) || !existsSync(file)) return next(specifier, context);
  return { url: pathToFileURL(file).href, format: 'module', shortCircuit: true };
};
