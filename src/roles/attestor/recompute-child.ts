import { writeFileSync } from 'node:fs';
import { Socket } from 'node:net';
import { Worker as Thread } from 'node:worker_threads';
import { z } from 'zod';
import { readCatalog } from '../../core/catalog/catalog.ts';
import { hostEngines } from '../../core/engines/engine-host.ts';
import { loadConfig } from '../../ground/config/load-config.ts';
import { referenceModels } from './reference-models.ts';

/**
 * The program of the attestor's child: native code on what strangers wrote runs here and holds no key. It
 * knows what loading a model needs, and nothing of Redis, of blobs or of the log. It ends with its parent.
 */
const ChildConfig = z.object({
  COUNTERSIGN_CATALOG: z.string().min(1),
  COUNTERSIGN_RECOMPUTE_MODELS: z.string().min(1),
});

const config = loadConfig(ChildConfig, process.env);
new Thread(new URL('../../core/engines/parent-watch.js', import.meta.url), { env: {} }).unref();
preferToDie();
hostEngines(
  referenceModels(readCatalog(config.COUNTERSIGN_CATALOG), config.COUNTERSIGN_RECOMPUTE_MODELS),
  new Socket({ fd: 3 }),
  () => process.exit(0),
);

/** Where memory runs out, Linux is to end this process and not the attestor. */
function preferToDie(): void {
  try {
    writeFileSync('/proc/self/oom_score_adj', '500');
  } catch {
    // Not every system has it; then it chooses by size.
  }
}
