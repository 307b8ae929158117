import { writeFileSync } from 'node:fs';
import { Socket } from 'node:net';
import { Worker as Thread } from 'node:worker_threads';
import { z } from 'zod';
import { loadConfig } from '../../ground/config/load-config.ts';
import { useGpuBuild } from '../engines/gpu-build.ts';
import { hostEngines } from '../engines/engine-host.ts';
import { readCatalog } from './catalog.ts';

/**
 * The program of the child in which engines of a worker or of an attestor compute: native code on what
 * strangers wrote runs here and holds no key. It knows what loading a model needs, and nothing of Redis, of
 * blobs or of the log. It ends with its parent.
 */
const ChildConfig = z.object({
  COUNTERSIGN_CATALOG: z.string().min(1),
  COUNTERSIGN_ENGINE_MODELS: z.string().min(1),
  /** Whether the models are loaded as an attestor loads them. */
  COUNTERSIGN_ENGINE_REFERENCES: z.enum(['true', 'false']),
  COUNTERSIGN_GPU_BUILD: z.string().optional(),
});

const config = loadConfig(ChildConfig, process.env);
new Thread(new URL('../engines/parent-watch.js', import.meta.url), { env: {} }).unref();
preferToDie();
if (config.COUNTERSIGN_GPU_BUILD !== undefined) useGpuBuild(config.COUNTERSIGN_GPU_BUILD);
const catalog = readCatalog(config.COUNTERSIGN_CATALOG);
const models = config.COUNTERSIGN_ENGINE_MODELS.split(',').map((name) => {
  const model = catalog.get(name);
  if (model === undefined) throw new Error(`The catalog has no model ${name}.`);
  return model;
});
hostEngines(
  config.COUNTERSIGN_ENGINE_REFERENCES === 'true' ? models.map((model) => model.reference()) : models,
  new Socket({ fd: 3 }),
  () => process.exit(0),
);

/** Where memory runs out, Linux is to end this process and not its parent. */
function preferToDie(): void {
  try {
    writeFileSync('/proc/self/oom_score_adj', '500');
  } catch {
    // Not every system has it; then it chooses by size.
  }
}
