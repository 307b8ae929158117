import { register } from 'node:module';

/**
 * Has node-llama-cpp find its build for GPUs in this folder, where `countersign setup` put it, and not beside
 * itself. Call it before the engine is loaded, and once.
 */
export function useGpuBuild(folder: string): void {
  register(new URL('./gpu-build-hooks.js', import.meta.url), { data: { folder } });
}
